#include <string.h>
#include "fork.h"
#include "interface.h"
#include "_cgo_export.h"

static const char name[] = "PKCS 11";

/* The newest first: the first one is what a caller without wishes gets. CKF_INTERFACE_FORK_SAFE would say that a child
 * keeps its parent's sessions and logins. Ours starts anew, so no flag is set. */
static const CK_INTERFACE interfaces[] = {
	{(CK_UTF8CHAR_PTR)name, (CK_VOID_PTR)&coffer_list_3_2, 0},
	{(CK_UTF8CHAR_PTR)name, (CK_VOID_PTR)&coffer_list_3_0, 0},
	{(CK_UTF8CHAR_PTR)name, (CK_VOID_PTR)&coffer_list_2_40, 0},
};

#define NINTERFACES (sizeof interfaces / sizeof interfaces[0])

CK_RV coffer_C_Initialize(CK_VOID_PTR pInitArgs)
{
	const CK_FUNCTION_LIST_3_2 *f;

	if (coffer_owner()) {
		/* Now, while the file still has its name and the host its privileges and its root directory. */
		coffer_image_remember();
		return coffer_go_C_Initialize((uintptr_t)pInitArgs);
	}
	f = coffer_forward_open();
	return f ? f->C_Initialize(pInitArgs) : CKR_FUNCTION_FAILED;
}

CK_RV coffer_C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
	if (!ppFunctionList)
		return CKR_ARGUMENTS_BAD;
	*ppFunctionList = (CK_FUNCTION_LIST_PTR)&coffer_list_2_40;
	return CKR_OK;
}

CK_RV coffer_C_GetInterfaceList(CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount)
{
	CK_ULONG room;

	if (!pulCount)
		return CKR_ARGUMENTS_BAD;
	room = *pulCount;
	*pulCount = NINTERFACES;
	if (!pInterfacesList)
		return CKR_OK;
	if (room < NINTERFACES)
		return CKR_BUFFER_TOO_SMALL;
	memcpy(pInterfacesList, interfaces, sizeof interfaces);
	return CKR_OK;
}

/* PKCS#11 v3.2, C_GetInterface: a NULL name, a NULL version stand for any; of flags we have none. */
CK_RV coffer_C_GetInterface(CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion, CK_INTERFACE_PTR_PTR ppInterface,
                            CK_FLAGS flags)
{
	if (!ppInterface || (pInterfaceName && strcmp((const char *)pInterfaceName, name) != 0))
		return CKR_ARGUMENTS_BAD;
	for (size_t i = 0; i < NINTERFACES; i++) {
		const CK_VERSION *version = interfaces[i].pFunctionList; /* every list begins with its version */

		if (pVersion && (pVersion->major != version->major || pVersion->minor != version->minor))
			continue;
		if ((interfaces[i].flags & flags) != flags)
			continue;
		*ppInterface = (CK_INTERFACE_PTR)&interfaces[i];
		return CKR_OK;
	}
	return CKR_ARGUMENTS_BAD;
}

EXPORTED(C_Initialize);
EXPORTED(C_GetFunctionList);
EXPORTED(C_GetInterfaceList);
EXPORTED(C_GetInterface);
