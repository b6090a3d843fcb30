package clients

// network are ssh, name servers and tunnels.
var network = []Client{}
