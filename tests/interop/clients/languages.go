package clients

// languages are languages and their bindings, and programs over them.
var languages = []Client{
	{
		Name: "java", Title: "Java 17: SunPKCS11, keytool, jarsigner",
		Shown: "KeyStore with chains, every signature, cipher, MAC, digest and agreement that it has, HTTPS both ways, " +
			"an authority with keytool, signed archives, a pool of 16 threads; over a node too",
		Version: []string{"sh", "-c", "$(ls /usr/lib/jvm/java-17-openjdk-*/bin/java) -version"}, Pattern: `version "([^"]+)"`,
	},
	{
		Name: "go", Title: "Go: miekg/pkcs11, crypto11",
		Shown:   "the suites of both; HTTPS under load with the signers of crypto11; the binding in threads",
		Version: []string{"go", "version"}, Pattern: `go version go(\S+)`,
	},
	{
		Name: "node", Title: "Node.js: pkcs11js, graphene-pk11, node-webcrypto-p11",
		Shown:   "the Web Cryptography API against Node's own, keys that persist, worker threads; the two bindings beneath it",
		Version: []string{"node", "--version"}, Pattern: `v(\S+)`,
	},
	{
		Name: "python", Title: "Python: PyKCS11",
		Shown:   "keys, signatures, encryption, wrapping, threads",
		Version: []string{"dpkg-query", "-W", "python3-pykcs11"}, Pattern: `\s([^-\s]+)`,
	},
	{
		Name: "oracle-tde", Title: "Oracle TDE",
		Shown: "its documented calls as a C program, not Oracle's own: the key set, opened after a restart and by many processes, changed; over a node too",
	},
	{
		Name: "openbao", Title: "OpenBao PKCS#11 seal",
		Shown: "the calls of its seal through its binding, not OpenBao itself: AES-GCM and RSA-OAEP, sessions at once",
	},
	{
		Name: "csharp", Title: "C#: Pkcs11Interop",
		Shown: "Mono with the calls of Pkcs11Interop, neither that package nor .NET itself: keys, signatures, encryption, threads that come and go " +
			"while memory is collected, null references",
		Version: []string{"mono", "--version"}, Pattern: `version (\S+)`,
	},
	{
		Name: "rust", Title: "Rust: cryptoki-sys",
		Shown:   "through Debian's cryptoki-sys, not the crate cryptoki above it: keys, signatures, encryption, threads",
		Version: []string{"ls", "build/debian/usr/share/cargo/registry"}, Pattern: `cryptoki-sys-(\S+)`,
	},
}
