package clients

// tls are libraries and tools for TLS, certificates and code signing.
var tls = []Client{
	{
		Name: "openssl-engine", Title: "OpenSSL engine (libp11)",
		Shown:   "req, x509, an issuing CA with revocation, dgst, cms, pkeyutl (RSA, PSS, OAEP, ECDSA, ECDH), s_server",
		Version: []string{"openssl", "version"}, Pattern: `OpenSSL (\S+)`,
	},
	{
		Name: "openssl-provider", Title: "OpenSSL 3 provider",
		Without: "Debian 12 has no pkcs11-provider package",
	},
	{
		Name: "gnutls", Title: "GnuTLS",
		Shown:   "p11tool, certtool as a CA with revocation, TLS server and client; RSA, EC, Ed25519",
		Version: []string{"p11tool", "--version"}, Pattern: `p11tool (\S+)`,
	},
	{
		Name: "nss", Title: "NSS",
		Shown:   "modutil, certutil as a CA, pk12util both ways, cmsutil, signtool, TLS server under load and client with a certificate",
		Version: []string{"dpkg-query", "-W", "libnss3-tools"}, Pattern: `\s(?:\d+:)?([^-\s]+)`,
	},
	{
		Name: "osslsigncode", Title: "osslsigncode",
		Shown:   "Windows programs signed with RSA and EC keys, and verified",
		Version: []string{"osslsigncode", "--version"}, Pattern: `osslsigncode (\d[^\s,]*)`,
	},
	{
		Name: "opensc", Title: "OpenSC pkcs11-tool",
		Shown:   "its own test among all kinds of keys, key generation, signatures (also EdDSA), encryption, ECDH, wrapping",
		Version: []string{"opensc-tool", "--info"}, Pattern: `OpenSC (\S+)`,
	},
	{
		Name: "p11-kit", Title: "p11-kit",
		Shown:   "a registered module, the server with its remoting, forked clients, the proxy with two modules",
		Version: []string{"dpkg-query", "-W", "p11-kit"}, Pattern: `\s([^-\s]+)`,
	},
}
