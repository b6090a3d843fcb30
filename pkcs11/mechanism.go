package pkcs11

// Mechanism is a mechanism with its parameter, decoded and typed. Params is nil, an IV, a MACGeneralParams or a pointer
// to one of the parameter structs.
type Mechanism struct {
	Type   MechanismType
	Params any
}

// MechanismInfo is what C_GetMechanismInfo answers. The unit of the key sizes is the mechanism's own: bits for RSA and
// EC, bytes for AES and generic secrets (PKCS#11 v3.2, mechanism tables).
type MechanismInfo struct {
	MinKeySize uint
	MaxKeySize uint
	Flags      Flags
}

// Version is a CK_VERSION.
type Version struct{ Major, Minor byte }

// Info is what C_GetInfo answers. Texts are cut or padded with blanks to their fields at the C boundary.
type Info struct {
	CryptokiVersion Version
	Manufacturer    string // 32 bytes
	Flags           Flags
	Description     string // 32 bytes
	LibraryVersion  Version
}

// SlotInfo is what C_GetSlotInfo answers.
type SlotInfo struct {
	Description     string // 64 bytes
	Manufacturer    string // 32 bytes
	Flags           Flags
	HardwareVersion Version
	FirmwareVersion Version
}

// TokenInfo is what C_GetTokenInfo answers. Counts and sizes that are not known are CK_UNAVAILABLE_INFORMATION.
type TokenInfo struct {
	Label              string // 32 bytes
	Manufacturer       string // 32 bytes
	Model              string // 16 bytes
	Serial             string // 16 bytes
	Flags              Flags
	MaxSessionCount    uint
	SessionCount       uint
	MaxRwSessionCount  uint
	RwSessionCount     uint
	MaxPinLen          uint
	MinPinLen          uint
	TotalPublicMemory  uint
	FreePublicMemory   uint
	TotalPrivateMemory uint
	FreePrivateMemory  uint
	HardwareVersion    Version
	FirmwareVersion    Version
	UTCTime            string // 16 bytes: YYYYMMDDhhmmss00
}

// SessionInfo is what C_GetSessionInfo answers.
type SessionInfo struct {
	Slot        uint
	State       State
	Flags       Flags
	DeviceError uint
}
