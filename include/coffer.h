/* coffer.h: PKCS#11 v3.2 and the vendor values that Coffer knows besides.
 *
 * A program that uses only the standard needs only pkcs11.h.
 */
#ifndef COFFER_H
#define COFFER_H 1

#include "pkcs11.h"

/* The manufacturer that C_GetInfo, C_GetSlotInfo and C_GetTokenInfo name, before padding with blanks. */
#define COFFER_MANUFACTURER_ID "Coffer"

/* Mechanisms of AWS CloudHSM, under its names and numbers. Programs that are written for it include
 * cloudhsm_pkcs11_vendor_defs.h, which has its structs too. */
#define CKM_CLOUDHSM_SP800_108_COUNTER_KDF 0x80000001UL
#define CKM_CLOUDHSM_AES_GCM 0x80001087UL
#define CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD 0x80002109UL
#define CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD 0x8000210aUL
#define CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD 0x8000216fUL
#define CKM_DES3_NIST_WRAP 0x80008000UL

#endif /* COFFER_H */
