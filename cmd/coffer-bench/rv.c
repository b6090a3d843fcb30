/* Names of return values. The build extracts them from pkcs11.h. */
#include <stddef.h>
#include "bench.h"

static const struct {
	CK_RV rv;
	const char *name;
} names[] = {
#include "return-values.inc"
	{RV_TOO_SLOW, "setup took too long"},
	{RV_STOPPED, "interrupted"},
	{RV_MEMORY, "out of memory"},
	{RV_WRONG, "wrong result"},
};

/* rv_name gives the name of a return value; that of an unknown one is good until the next call. */
const char *rv_name(CK_RV rv)
{
	static char number[32];

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i].rv == rv)
			return names[i].name;
	snprintf(number, sizeof number, "CKR 0x%08lx", rv);
	return number;
}
