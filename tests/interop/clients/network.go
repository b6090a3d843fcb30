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
	{
		Name: "bind", Title: "BIND",
		Shown:   "Debian's build, without engines, serves what Knot DNS signs; a build with engines: dnssec-keyfromlabel, dnssec-signzone, inline signing",
		Version: []string{"named", "-v"}, Pattern: `BIND (\S+?)-`,
	},
	{
		Name: "knot", Title: "Knot DNS",
		Shown:   "keys made in the token by policy, automatic signing, changes, a restart, a rollover; verified by BIND's and ldns's tools",
		Version: []string{"knotd", "-V"}, Pattern: `version (\S+)`,
	},
	{
		Name: "ldns", Title: "ldns",
		Shown:   "ldns-signzone with RSA and EC keys, NSEC and NSEC3; verified by BIND's and ldns's tools",
		Version: []string{"ldns-signzone", "-v"}, Pattern: `ldns version ([^)\s]+)`,
	},
	{
		Name: "openvpn", Title: "OpenVPN",
		Shown:   "keys of server and client in the token; TLS 1.2 and 1.3, renewed handshakes, in the background; pings through a tunnel",
		Version: []string{"openvpn", "--version"}, Pattern: `OpenVPN (\S+)`,
	},
	{
		Name: "strongswan", Title: "strongSwan",
		Shown:   "IKEv2 with RSA and EC keys in the token at both ends, connected again from either; pings through a tunnel",
		Version: []string{"dpkg-query", "-W", "charon-systemd"}, Pattern: `\s([^-\s]+)`,
	},
}
