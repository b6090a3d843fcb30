/* The function lists, and the four functions that may be called before C_Initialize: written in C, for they answer in a
 * forked child too, and three of them never need Go at all. */
#ifndef COFFER_INTERFACE_H
#define COFFER_INTERFACE_H

#include "pkcs11.h"

/* The exported function is a second name for one that nothing outside the library can take the place of. The function
 * lists point to the latter: a host may hold several PKCS#11 modules, and all their functions have the same names. */
#define EXPORTED(name) extern __typeof__(coffer_##name) name __attribute__((alias("coffer_" #name), visibility("default")))

#pragma GCC visibility push(hidden)

extern const CK_FUNCTION_LIST coffer_list_2_40;
extern const CK_FUNCTION_LIST_3_0 coffer_list_3_0;
extern const CK_FUNCTION_LIST_3_2 coffer_list_3_2;

CK_RV coffer_C_Initialize(CK_VOID_PTR pInitArgs);
CK_RV coffer_C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList);
CK_RV coffer_C_GetInterfaceList(CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount);
CK_RV coffer_C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion, CK_INTERFACE_PTR_PTR ppInterface,
                            CK_FLAGS flags);

#pragma GCC visibility pop

#endif
