// Package mechtest is what the tests of all families of mechanisms share: a key in memory, and a battery that holds any
// row to the promises of package mech. It is imported by tests only.
//
// A family's test makes a Case from a row, a key and the parameters that the row takes, and calls Run. Known answers
// are the family's own business.
package mechtest
