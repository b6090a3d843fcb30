package clients

// web are servers that offload TLS, and what forks like them.
var web = []Client{
	{
		Name: "nginx", Title: "nginx",
		Shown:   "HTTPS with RSA and EC keys, reloads under load, a worker killed; from a file and over a node; the cost",
		Version: []string{"nginx", "-v"}, Pattern: `nginx/(\S+)`,
	},
	{
		Name: "apache", Title: "Apache httpd (mod_ssl)",
		Shown:   "HTTPS with RSA and EC keys, event and prefork, graceful restarts under load, children killed; the cost",
		Version: []string{"apache2", "-v"}, Pattern: `Apache/(\S+)`,
	},
}
