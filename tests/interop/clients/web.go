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
	{
		Name: "stunnel", Title: "stunnel",
		Shown:   "TLS with RSA and EC keys in front of a server that knows none, under load; a reload",
		Version: []string{"stunnel4", "-version"}, Pattern: `stunnel (\S+)`,
	},
	{
		Name: "haproxy", Title: "HAProxy",
		Shown:   "that its Debian build takes keys from files alone; stunnel in front of it, with the PROXY protocol, under load",
		Version: []string{"haproxy", "-v"}, Pattern: `version ([\d.]+)`,
	},
	{
		Name: "postgresql", Title: "PostgreSQL",
		Shown:   "psql with a client certificate whose key is in Coffer; the server takes its key from a file alone: stunnel in front of it",
		Version: []string{"psql", "--version"}, Pattern: `\(PostgreSQL\) (\S+)`,
	},
	{
		Name: "prefork", Title: "prefork servers in C",
		Shown: "the module loaded before the fork; children that sign, end after some requests and are killed",
	},
	{
		Name: "gunicorn", Title: "gunicorn (Python, PyKCS11)",
		Shown:   "the application loaded before the fork; workers that sign and are replaced, a reload under load",
		Version: []string{"gunicorn", "--version"}, Pattern: `version (\S+?)\)`,
	},
	{
		Name: "mariadb", Title: "MariaDB",
		Shown:   "that server and client take TLS keys from files alone; stunnel on both sides, each with its key in Coffer",
		Version: []string{"mariadbd", "--version"}, Pattern: `Ver ([\d.]+)`,
	},
}
