// The calls of Pkcs11Interop on 64-bit Unix: the library is loaded with dlopen, C_GetFunctionList gives the list, and each function of it is
// a delegate over a pointer. CK_ULONG has 8 bytes, structs are laid out as in C; arrays of bytes and numbers are lent to the library where
// they lie, arrays of attributes are copied for it.

using System;
using System.Runtime.InteropServices;

[StructLayout(LayoutKind.Sequential)]
struct Mechanism { public ulong Type; public IntPtr Parameter; public ulong Length; }

[StructLayout(LayoutKind.Sequential)]
struct Attribute { public ulong Type; public IntPtr Value; public ulong Length; }

[StructLayout(LayoutKind.Sequential)]
struct GcmParams { public IntPtr Iv; public ulong IvLength, IvBits; public IntPtr Aad; public ulong AadLength, TagBits; }

[StructLayout(LayoutKind.Sequential)]
struct PssParams { public ulong Hash, Mgf, SaltLength; }

[StructLayout(LayoutKind.Sequential)]
class InitializeArgs { public IntPtr Create, Destroy, Lock, Unlock; public ulong Flags; public IntPtr Reserved; }

// Refused is a return value other than CKR_OK.
class Refused : Exception
{
    public readonly ulong Value;
    public Refused(ulong value) : base("0x" + value.ToString("x")) { Value = value; }
}

sealed class Library
{
    const CallingConvention C = CallingConvention.Cdecl;

    [UnmanagedFunctionPointer(C)] public delegate ulong GetFunctionListCall(out IntPtr list);
    [UnmanagedFunctionPointer(C)] public delegate ulong InitializeCall(InitializeArgs args);
    [UnmanagedFunctionPointer(C)] public delegate ulong FinalizeCall(IntPtr reserved);
    [UnmanagedFunctionPointer(C)] public delegate ulong GetSlotListCall([MarshalAs(UnmanagedType.U1)] bool present,
        ulong[] slots, ref ulong count);
    [UnmanagedFunctionPointer(C)] public delegate ulong OpenSessionCall(ulong slot, ulong flags, IntPtr application,
        IntPtr notify, ref ulong session);
    [UnmanagedFunctionPointer(C)] public delegate ulong SessionCall(ulong session);
    [UnmanagedFunctionPointer(C)] public delegate ulong LoginCall(ulong session, ulong user, byte[] pin, ulong length);
    [UnmanagedFunctionPointer(C)] public delegate ulong ObjectCall(ulong session, ulong obj);
    [UnmanagedFunctionPointer(C)] public delegate ulong GetAttributeValueCall(ulong session, ulong obj,
        [In, Out] Attribute[] template, ulong count);
    [UnmanagedFunctionPointer(C)] public delegate ulong FindInitCall(ulong session, Attribute[] template, ulong count);
    [UnmanagedFunctionPointer(C)] public delegate ulong FindCall(ulong session, ulong[] objects, ulong room, ref ulong count);
    [UnmanagedFunctionPointer(C)] public delegate ulong BeginCall(ulong session, ref Mechanism mechanism, ulong key);
    [UnmanagedFunctionPointer(C)] public delegate ulong TransformCall(ulong session, byte[] data, ulong length, byte[] result,
        ref ulong room);
    [UnmanagedFunctionPointer(C)] public delegate ulong VerifyCall(ulong session, byte[] data, ulong length, byte[] signature,
        ulong signatureLength);
    [UnmanagedFunctionPointer(C)] public delegate ulong GenerateKeyCall(ulong session, ref Mechanism mechanism,
        Attribute[] template, ulong count, ref ulong key);
    [UnmanagedFunctionPointer(C)] public delegate ulong GenerateKeyPairCall(ulong session, ref Mechanism mechanism,
        Attribute[] ofPublic, ulong publicCount, Attribute[] ofPrivate, ulong privateCount, ref ulong publicKey, ref ulong privateKey);

    [DllImport("libdl.so.2", CallingConvention = C)] static extern IntPtr dlopen(string path, int flags);
    [DllImport("libdl.so.2", CallingConvention = C)] static extern IntPtr dlsym(IntPtr library, string name);
    const int RTLD_NOW_LOCAL = 2;

    readonly IntPtr list;

    public readonly InitializeCall Initialize;
    public readonly FinalizeCall CFinalize;
    public readonly GetSlotListCall GetSlotList;
    public readonly OpenSessionCall OpenSession;
    public readonly SessionCall CloseSession, Logout, FindObjectsFinal;
    public readonly LoginCall Login;
    public readonly ObjectCall DestroyObject;
    public readonly GetAttributeValueCall GetAttributeValue;
    public readonly FindInitCall FindObjectsInit;
    public readonly FindCall FindObjects;
    public readonly BeginCall EncryptInit, DecryptInit, SignInit, VerifyInit;
    public readonly TransformCall Encrypt, Decrypt, Sign;
    public readonly VerifyCall Verify;
    public readonly GenerateKeyCall GenerateKey;
    public readonly GenerateKeyPairCall GenerateKeyPair;

    public Library(string path)
    {
        IntPtr handle = dlopen(path, RTLD_NOW_LOCAL);
        if (handle == IntPtr.Zero) throw new Exception(path + " cannot be loaded");
        var get = Marshal.GetDelegateForFunctionPointer<GetFunctionListCall>(dlsym(handle, "C_GetFunctionList"));
        Check(get(out list));
        // the places of PKCS#11 2.40, CK_FUNCTION_LIST
        Initialize = At<InitializeCall>(0);
        CFinalize = At<FinalizeCall>(1);
        GetSlotList = At<GetSlotListCall>(4);
        OpenSession = At<OpenSessionCall>(12);
        CloseSession = At<SessionCall>(13);
        Login = At<LoginCall>(18);
        Logout = At<SessionCall>(19);
        DestroyObject = At<ObjectCall>(22);
        GetAttributeValue = At<GetAttributeValueCall>(24);
        FindObjectsInit = At<FindInitCall>(26);
        FindObjects = At<FindCall>(27);
        FindObjectsFinal = At<SessionCall>(28);
        EncryptInit = At<BeginCall>(29);
        Encrypt = At<TransformCall>(30);
        DecryptInit = At<BeginCall>(33);
        Decrypt = At<TransformCall>(34);
        SignInit = At<BeginCall>(42);
        Sign = At<TransformCall>(43);
        VerifyInit = At<BeginCall>(48);
        Verify = At<VerifyCall>(49);
        GenerateKey = At<GenerateKeyCall>(58);
        GenerateKeyPair = At<GenerateKeyPairCall>(59);
    }

    // The list begins with its version, two bytes, and what aligns the pointers.
    T At<T>(int place) { return Marshal.GetDelegateForFunctionPointer<T>(Marshal.ReadIntPtr(list, 8 + 8 * place)); }

    public static void Check(ulong rv) { if (rv != 0) throw new Refused(rv); }
}
