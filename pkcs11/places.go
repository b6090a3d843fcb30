package pkcs11

// Handle names a key inside a mechanism's parameter, as the near side has numbered it; 0 is none. Which key it is goes
// along with the request.
type Handle uint

// NewHandle is the place inside a mechanism's parameter where the handle of a key goes that the mechanism has made.
type NewHandle uint

// Output is the place inside a mechanism's parameter where the mechanism leaves bytes that are no key.
type Output struct {
	Wanted bool // there is memory for it
	Bytes  []byte
}

// Places are the parts of a parameter that name other objects, or that the call fills. The order is that of the members.
type Places struct {
	Named     []Handle // those that are not 0
	Templates []*Template
	Made      []*NewHandle
	Outputs   []*Output
	Secrets   [][]byte // passwords
	// Instead says that the parameter has a place for every key that is made, so that the call itself answers none.
	Instead bool
}

// PlacesOf finds the places of a parameter; typed nil pointers and parameters without any have none.
func PlacesOf(params any) Places {
	switch p := params.(type) {
	case Handle:
		at := Places{}
		at.name(p)
		return at
	case interface{ places(*Places) }:
		at := new(Places)
		p.places(at)
		return *at
	}
	return Places{}
}

func (at *Places) name(h Handle) {
	if h != 0 {
		at.Named = append(at.Named, h)
	}
}
