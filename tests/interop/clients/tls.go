package clients

// tls are libraries and tools for TLS, certificates and code signing.
var tls = []Client{
	{
		Name: "openssl-engine", Title: "OpenSSL engine (libp11)",
		Shown:   "req, x509, an issuing CA with revocation, dgst, cms, pkeyutl (RSA, PSS, OAEP, ECDSA, ECDH), s_server",
		Version: []string{"openssl", "version"}, Pattern: `OpenSSL (\S+)`,
	},
	{
		Name: "gnutls", Title: "GnuTLS",
		Shown:   "p11tool: keys made, listed, used for certificates",
		Version: []string{"p11tool", "--version"}, Pattern: `p11tool (\S+)`,
	},
	{
		Name: "nss", Title: "NSS",
		Shown:   "modutil, certutil as a CA, pk12util both ways, cmsutil, signtool, TLS server under load and client with a certificate",
		Version: []string{"dpkg-query", "-W", "libnss3-tools"}, Pattern: `\s(?:\d+:)?([^-\s]+)`,
	},
	{
		Name: "opensc", Title: "OpenSC pkcs11-tool",
		Shown:   "its own test, key generation, signatures, encryption, wrapping",
		Version: []string{"opensc-tool", "--info"}, Pattern: `OpenSC (\S+)`,
	},
	{
		Name: "p11-kit", Title: "p11-kit",
		Shown:   "a registered module, and the server with its remoting",
		Version: []string{"dpkg-query", "-W", "p11-kit"}, Pattern: `\s([^-\s]+)`,
	},
}
