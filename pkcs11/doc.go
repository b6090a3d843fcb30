// Package pkcs11 is the vocabulary of PKCS #11 v3.2 in Go: typed constants under the standard's own names, templates,
// mechanisms with their parameters, and return values as errors.
//
// The constants, the kinds of attributes, the parameter structs and the C headers in include/ are generated from the
// three reviewed tables in spec/. The package imports only the standard library, holds no state, and everything in it
// may be used from many goroutines at once as long as nobody changes a value that others read.
package pkcs11
