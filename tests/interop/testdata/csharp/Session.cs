// A session, and what Pkcs11Interop's high level puts around the calls: templates, parameters in unmanaged memory, two calls for a size.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

// Memory is what the library gets to read beside arguments; it is given back when the call is over.
sealed class Memory : IDisposable
{
    readonly List<IntPtr> held = new List<IntPtr>();

    public IntPtr Of(byte[] data)
    {
        IntPtr p = Room(data.Length);
        Marshal.Copy(data, 0, p, data.Length);
        return p;
    }

    public IntPtr Room(int length)
    {
        IntPtr p = Marshal.AllocHGlobal(length);
        held.Add(p);
        return p;
    }

    public Mechanism With<T>(ulong type, T parameter) where T : struct
    {
        int size = Marshal.SizeOf(typeof(T));
        IntPtr p = Room(size);
        Marshal.StructureToPtr(parameter, p, false);
        return new Mechanism { Type = type, Parameter = p, Length = (ulong)size };
    }

    public Attribute[] Template(params object[] pairs)
    {
        var template = new Attribute[pairs.Length / 2];
        for (int i = 0; i < template.Length; i++)
        {
            byte[] value = Bytes(pairs[2 * i + 1]);
            template[i] = new Attribute { Type = (ulong)pairs[2 * i], Value = Of(value), Length = (ulong)value.Length };
        }
        return template;
    }

    static byte[] Bytes(object value)
    {
        if (value is bool) return new[] { (byte)((bool)value ? 1 : 0) };
        if (value is ulong) return BitConverter.GetBytes((ulong)value);
        if (value is string) return Encoding.UTF8.GetBytes((string)value);
        return (byte[])value;
    }

    public void Dispose()
    {
        foreach (IntPtr p in held) Marshal.FreeHGlobal(p);
    }
}

sealed class Session : IDisposable
{
    readonly Library p11;
    public readonly ulong Handle;

    public Session(Library library, ulong slot)
    {
        p11 = library;
        Library.Check(p11.OpenSession(slot, CKF.SERIAL_SESSION | CKF.RW_SESSION, IntPtr.Zero, IntPtr.Zero, ref Handle));
    }

    public void Dispose() { Library.Check(p11.CloseSession(Handle)); }

    public void Login(string pin)
    {
        byte[] b = Encoding.UTF8.GetBytes(pin);
        Library.Check(p11.Login(Handle, CKU.USER, b, (ulong)b.Length));
    }

    public void Logout() { Library.Check(p11.Logout(Handle)); }

    public void Destroy(ulong key) { Library.Check(p11.DestroyObject(Handle, key)); }

    public ulong[] Find(params object[] pairs)
    {
        using (var m = new Memory())
        {
            Attribute[] template = m.Template(pairs);
            Library.Check(p11.FindObjectsInit(Handle, template, (ulong)template.Length));
            var found = new ulong[16];
            ulong count = 0;
            Library.Check(p11.FindObjects(Handle, found, (ulong)found.Length, ref count));
            Library.Check(p11.FindObjectsFinal(Handle));
            Array.Resize(ref found, (int)count);
            return found;
        }
    }

    public byte[] Value(ulong obj, ulong attribute)
    {
        using (var m = new Memory())
        {
            var template = new[] { new Attribute { Type = attribute } };
            Library.Check(p11.GetAttributeValue(Handle, obj, template, 1));
            template[0].Value = m.Room((int)template[0].Length);
            Library.Check(p11.GetAttributeValue(Handle, obj, template, 1));
            var value = new byte[template[0].Length];
            Marshal.Copy(template[0].Value, value, 0, value.Length);
            return value;
        }
    }

    public ulong GenerateKey(ulong mechanism, params object[] pairs)
    {
        using (var m = new Memory())
        {
            var how = new Mechanism { Type = mechanism };
            Attribute[] template = m.Template(pairs);
            ulong key = 0;
            Library.Check(p11.GenerateKey(Handle, ref how, template, (ulong)template.Length, ref key));
            return key;
        }
    }

    public ulong GenerateKeyPair(ulong mechanism, object[] ofPublic, object[] ofPrivate, out ulong publicKey)
    {
        using (var m = new Memory())
        {
            var how = new Mechanism { Type = mechanism };
            Attribute[] a = m.Template(ofPublic), b = m.Template(ofPrivate);
            ulong privateKey = 0;
            publicKey = 0;
            Library.Check(p11.GenerateKeyPair(Handle, ref how, a, (ulong)a.Length, b, (ulong)b.Length, ref publicKey, ref privateKey));
            return privateKey;
        }
    }

    public byte[] Sign(Mechanism how, ulong key, byte[] data) { return Transform(p11.SignInit, p11.Sign, how, key, data); }

    public byte[] Encrypt(Mechanism how, ulong key, byte[] data) { return Transform(p11.EncryptInit, p11.Encrypt, how, key, data); }

    public byte[] Decrypt(Mechanism how, ulong key, byte[] data) { return Transform(p11.DecryptInit, p11.Decrypt, how, key, data); }

    // The size is asked for first, as Pkcs11Interop does.
    byte[] Transform(Library.BeginCall begin, Library.TransformCall call, Mechanism how, ulong key, byte[] data)
    {
        Library.Check(begin(Handle, ref how, key));
        ulong length = 0;
        Library.Check(call(Handle, data, (ulong)data.Length, null, ref length));
        var result = new byte[length];
        Library.Check(call(Handle, data, (ulong)data.Length, result, ref length));
        Array.Resize(ref result, (int)length);
        return result;
    }

    public bool Verify(Mechanism how, ulong key, byte[] data, byte[] signature)
    {
        Library.Check(p11.VerifyInit(Handle, ref how, key));
        ulong rv = p11.Verify(Handle, data, (ulong)data.Length, signature, (ulong)signature.Length);
        if (rv == CKR.SIGNATURE_INVALID) return false;
        Library.Check(rv);
        return true;
    }
}
