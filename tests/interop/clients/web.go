package clients

// web are servers that offload TLS, and what forks like them.
var web = []Client{
	{
		Name: "nginx", Title: "nginx",
		Shown:   "HTTPS with RSA and EC keys, reloads under load, a worker killed; from a file and over a node; the cost",
		Version: []string{"nginx", "-v"}, Pattern: `nginx/(\S+)`,
	},
}
