/* One process makes objects, others destroy whatever they find. Each creation is answered CKR_OK, and each destruction so
 * or with CKR_OBJECT_HANDLE_INVALID. Arguments: the module, the PIN, "make" or "hunt", how many are made. The hunter
 * ends when it has found the object "end". */
#include "token.h"

int main(int argc, char **argv)
{
	static CK_OBJECT_HANDLE found[MAX_FOUND];
	int caught = 0, missed = 0, over = 0;
	CK_SESSION_HANDLE session;
	CK_ULONG n;

	CHECK(argc == 5);
	load_module(argv[1]);
	OK(initialize());
	OK(open_session(&session, CKF_RW_SESSION));
	OK(login(session, CKU_USER, argv[2]));
	say("ready");
	CHECK(getchar() == 'g');
	if (argv[3][0] == 'm') {
		for (int i = atoi(argv[4]); i > 0; i--) {
			OK(make_data(session, "prey", "v", i % 2 ? CK_TRUE : CK_FALSE));
			if (i % 4 == 0) {
				CK_OBJECT_HANDLE public, private;

				OK(make_pair(session, "prey", CK_TRUE, &public, &private));
			}
		}
		OK(make_data(session, "end", "v", CK_TRUE));
		say("made");
		return 0;
	}
	while (!over) {
		OK(find(session, "end", CKO_DATA, found, &n));
		over = n > 0; /* one more search finds what came before it */
		OK(find(session, "prey", -1, found, &n));
		for (CK_ULONG i = 0; i < n; i++) {
			CK_RV rv = p11->C_DestroyObject(session, found[i]);

			if (rv == CKR_OK)
				caught++;
			else if (rv == CKR_OBJECT_HANDLE_INVALID)
				missed++;
			else
				failed("destroying: 0x%lx", rv);
		}
	}
	say("%d %d", caught, missed);
	return 0;
}
