package config

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
)
