// Package postquantum is what the families of ML-DSA, SLH-DSA and ML-KEM share: the parameter of their signatures, the
// hashes that may come before one, and their keys in DER. The algorithms are the families' own.
package postquantum
