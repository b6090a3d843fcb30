package config

import "time"

// Everything that holds when nothing else is said. Names of the environment are here as well, so that the
// documentation has one place to be checked against.
const (
	// EnvFile names the configuration file. When it is set, the file must exist.
	EnvFile = "COFFER_CONF"

	envConfigHome = "XDG_CONFIG_HOME"
	envDataHome   = "XDG_DATA_HOME"

	// SystemFile is read when the user has no file of his own.
	SystemFile = "/etc/coffer/coffer.toml"

	userConfigHome = ".config"      // below the home directory, when XDG_CONFIG_HOME is unset
	userDataHome   = ".local/share" // below the home directory, when XDG_DATA_HOME is unset
	rootDataHome   = "/var/lib"     // for root, when XDG_DATA_HOME is unset

	directory = "coffer"      // below each of the directories above
	fileName  = "coffer.toml" // the configuration in it
	tokenName = "token.db"    // the default token in it

	defaultSlotID = 0

	// maxSlotID keeps ids within a CK_ULONG of 32 bits.
	maxSlotID = 1<<32 - 1
	// maxFileSize stops a wrong file (a database, a log) from being read whole.
	maxFileSize = 64 << 10
	// maxLine is how far an error is located; beyond it, the file as a whole is named.
	maxLine = 2000

	// DefaultSocket is where a node listens for programs on its machine.
	DefaultSocket = "/run/coffer/cofferd.sock"
	// DefaultPort is where a node listens for clients, in what names it without a port.
	DefaultPort = "2223"

	// DefaultTimeout bounds one call to a remote slot, all tries together. Making a large RSA key takes seconds.
	DefaultTimeout = 30 * time.Second
	minTimeout     = 100 * time.Millisecond
	maxTimeout     = 10 * time.Minute

	maxAddresses  = 64  // places in one list; a cluster has at most 28 nodes
	maxWord       = 64  // bytes of a name that is shown in lists
	maxHost       = 253 // bytes of a DNS name (RFC 1035, 2.3.4)
	maxSocketPath = 107 // bytes of sun_path without its final zero (unix(7))
)

// What holds for a node.
const (
	// NodeFile is the daemon's configuration.
	NodeFile = "/etc/coffer/cofferd.toml"

	defaultStateDir   = "/var/lib/coffer/node"
	keyFileName       = "unseal.key" // beside the state directory
	defaultPeerPort   = "2224"
	defaultStorePort  = "2225"
	defaultEtcdPort   = "2379"
	defaultMetrics    = "9464" // the port that OpenTelemetry's exporters for Prometheus have
	defaultSocketMode = 0o660

	defaultLifetime = 24 * time.Hour
	minLifetime     = time.Minute
	maxLifetime     = 30 * 24 * time.Hour

	defaultReplace = time.Minute
	maxReplace     = 24 * time.Hour

	defaultShares    = 5
	defaultThreshold = 3
	maxShares        = 32
	noDescriptor     = -1
	maxDescriptor    = 1023
)
