package clients

// languages are languages and their bindings, and programs over them.
var languages = []Client{
	{
		Name: "go", Title: "Go: miekg/pkcs11, crypto11",
		Shown:   "the suite of crypto11; the binding in threads",
		Version: []string{"go", "version"}, Pattern: `go version go(\S+)`,
	},
}
