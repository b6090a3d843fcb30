package clients

// web are servers that offload TLS, and what forks like them.
var web = []Client{}
