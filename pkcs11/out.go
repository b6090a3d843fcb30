package pkcs11

// Out is the output argument of a function that follows the two-call convention (PKCS#11 v3.2, section 5.2): the
// caller's buffer, of which only the capacity is known here, or a question for the length.
//
// A function asks Fits before it does what cannot be undone, and Put once it has the bytes. The C boundary copies Bytes
// out and writes Length; nothing else decides about sizes.
type Out struct {
	Query    bool // the buffer pointer was NULL: only the length is wanted
	Capacity int  // bytes that the caller's buffer holds
	Length   int  // what *pulLen becomes
	Buffer   uint // the C boundary's name for the caller's buffer; an asynchronous call gives it back with its result
	// Bytes is what goes into the buffer, nil if nothing. The caller may bring memory along in it, with length 0; the
	// output is there if it has room, and is the caller's to wipe wherever it is.
	Bytes []byte
	// Over is the input's memory, with length 0 and room for more than the input, where the caller allows the output to be
	// written over it; else nil.
	Over []byte
}

// Fits says whether output of n bytes may be produced now. When it is false, return err at once: nil answers a length
// query, CKR_BUFFER_TOO_SMALL a short buffer. Length is set in both cases.
func (o *Out) Fits(n int) (ok bool, err error) {
	o.Length = n
	if o.Query {
		return false, nil
	}
	if o.Capacity < n {
		return false, CKR_BUFFER_TOO_SMALL
	}
	return true, nil
}

// Put hands over the result. It answers like Fits, so that a result whose size was not known beforehand may still turn
// out too large.
func (o *Out) Put(b []byte) error {
	ok, err := o.Fits(len(b))
	if ok {
		o.Bytes = b
	}
	return err
}
