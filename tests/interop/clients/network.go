package clients

// network are ssh, name servers and tunnels.
var network = []Client{
	{
		Name: "openssh", Title: "OpenSSH",
		Shown:   "logins with PKCS11Provider and ssh-agent, many at once; certificates for users and hosts by an authority in the token; a host key in the token",
		Version: []string{"ssh", "-V"}, Pattern: `OpenSSH_(\S+)`,
	},
	{
		Name: "git", Title: "git",
		Shown:   "commits and tags signed through ssh-agent, and verified",
		Version: []string{"git", "version"}, Pattern: `git version (\S+)`,
	},
}
