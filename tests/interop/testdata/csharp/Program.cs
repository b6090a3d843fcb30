// A program of Pkcs11Interop's kind over a token: keys, signatures, encryption, refusals, threads that come and go while memory is
// collected, and null references, which Mono turns from a SIGSEGV into an exception. `Program.exe LIBRARY`, with COFFER_PIN.
//
// Public keys are written to NAME.der and signatures to NAME.sig, for another program to verify them over the file `letter`.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Threading;

static class Program
{
    const int Generations = 24, AtOnce = 8, Rounds = 2;
    static readonly byte[] P256 = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };
    static readonly byte[] Letter = Encoding.UTF8.GetBytes("to be signed\n");
    static readonly Mechanism Ecdsa = new Mechanism { Type = CKM.ECDSA_SHA256 };

    static Library p11;
    static ulong slot;
    static ulong ec, ecPublic, rsa, rsaPublic, aes;
    static readonly List<Exception> failures = new List<Exception>();

    static int Main(string[] args)
    {
        NullReference();
        p11 = new Library(args[0]);
        NullReference();
        var threads = new InitializeArgs { Flags = CKF.OS_LOCKING_OK };
        Library.Check(p11.Initialize(threads));
        NullReference();
        MustRefuse(CKR.CRYPTOKI_ALREADY_INITIALIZED, () => Library.Check(p11.Initialize(threads)));
        var slots = new ulong[4];
        ulong count = (ulong)slots.Length;
        Library.Check(p11.GetSlotList(true, slots, ref count));
        slot = slots[0];
        using (var s = new Session(p11, slot))
        {
            MakeKeys(s);
            Signatures(s);
            Refusals(s);
            Console.WriteLine("ok {0} collections among {1} threads", Collections(Work), Generations * AtOnce);
            s.Logout();
        }
        foreach (Exception e in failures) Console.WriteLine(e);
        if (failures.Count > 0) return 1;
        NullReference();
        Library.Check(p11.CFinalize(IntPtr.Zero));
        NullReference();
        Console.WriteLine("ok C#");
        return 0;
    }

    static void MakeKeys(Session s)
    {
        Func<ulong> make = () => s.GenerateKeyPair(CKM.EC_KEY_PAIR_GEN,
            new object[] { CKA.EC_PARAMS, P256, CKA.TOKEN, true, CKA.LABEL, "ec", CKA.VERIFY, true },
            new object[] { CKA.TOKEN, true, CKA.LABEL, "ec", CKA.SIGN, true }, out ecPublic);
        MustRefuse(CKR.USER_NOT_LOGGED_IN, () => make());
        MustRefuse(CKR.PIN_INCORRECT, () => s.Login("wrong"));
        s.Login(Environment.GetEnvironmentVariable("COFFER_PIN"));
        ec = make();
        rsa = s.GenerateKeyPair(CKM.RSA_PKCS_KEY_PAIR_GEN,
            new object[] { CKA.MODULUS_BITS, 2048UL, CKA.TOKEN, true, CKA.LABEL, "pss", CKA.VERIFY, true },
            new object[] { CKA.TOKEN, true, CKA.LABEL, "pss", CKA.SIGN, true }, out rsaPublic);
        aes = s.GenerateKey(CKM.AES_KEY_GEN, CKA.VALUE_LEN, 32UL, CKA.TOKEN, true, CKA.LABEL, "aes", CKA.ENCRYPT, true, CKA.DECRYPT, true);
        foreach (var named in new[] { new { Label = "ec", Key = ec }, new { Label = "pss", Key = rsa } })
        {
            ulong[] found = s.Find(CKA.CLASS, CKO.PRIVATE_KEY, CKA.LABEL, named.Label);
            True(found.Length == 1 && found[0] == named.Key, "the key " + named.Label + " is found");
        }
    }

    static void Signatures(Session s)
    {
        File.WriteAllBytes("letter", Letter);
        File.WriteAllBytes("ec.der", s.Value(ecPublic, CKA.PUBLIC_KEY_INFO));
        File.WriteAllBytes("ec.sig", s.Sign(Ecdsa, ec, Letter));
        File.WriteAllBytes("pss.der", s.Value(rsaPublic, CKA.PUBLIC_KEY_INFO));
        using (var m = new Memory()) File.WriteAllBytes("pss.sig", s.Sign(Pss(m), rsa, Letter));
    }

    static void Refusals(Session s)
    {
        MustRefuse(CKR.ATTRIBUTE_SENSITIVE, () => s.Value(rsa, CKA.PRIVATE_EXPONENT));
        MustRefuse(CKR.KEY_FUNCTION_NOT_PERMITTED, () => s.Sign(Ecdsa, ecPublic, Letter));
        MustRefuse(CKR.MECHANISM_PARAM_INVALID, () => s.Encrypt(new Mechanism { Type = CKM.AES_GCM }, aes, Letter));
        ulong length = 64;
        MustRefuse(CKR.OPERATION_NOT_INITIALIZED, () => Library.Check(p11.Sign(s.Handle, Letter, (ulong)Letter.Length, new byte[64], ref length)));
        var closed = new Session(p11, slot);
        closed.Dispose();
        MustRefuse(CKR.SESSION_HANDLE_INVALID, () => closed.Sign(Ecdsa, ec, Letter));
    }

    // Collections runs generations of threads, and collects memory all the time. It returns how often that was. The threads of a generation
    // make their first calls together.
    static int Collections(Action<int> work)
    {
        bool done = false;
        int n = 0;
        var collector = new Thread(() => { while (!Volatile.Read(ref done)) { GC.Collect(n % 2); n++; } });
        collector.Start();
        for (int g = 0; g < Generations; g++)
        {
            var threads = new Thread[AtOnce];
            var together = new Barrier(AtOnce);
            for (int i = 0; i < AtOnce; i++)
            {
                int number = g * AtOnce + i;
                threads[i] = new Thread(() =>
                {
                    try { together.SignalAndWait(); work(number); }
                    catch (Exception e) { lock (failures) failures.Add(e); }
                });
                threads[i].Start();
            }
            foreach (Thread t in threads) t.Join();
        }
        Volatile.Write(ref done, true);
        collector.Join();
        return n;
    }

    // Everything that a thread uses here is new, and nothing but its own stack holds on to it.
    static void Work(int number)
    {
        using (var s = new Session(p11, slot))
            for (int i = 0; i < Rounds; i++)
                using (var m = new Memory())
                {
                    NullReference();
                    byte[] data = Enumerable.Range(number, 200 + i).Select(b => (byte)b).ToArray();
                    Signed(s, Ecdsa, ec, ecPublic, data);
                    Signed(s, Pss(m), rsa, rsaPublic, data);
                    Encrypted(s, data);
                    for (int j = 0; j < data.Length; j++) True(data[j] == (byte)(number + j), "the data is as it was");
                }
    }

    static void Signed(Session s, Mechanism how, ulong key, ulong publicKey, byte[] data)
    {
        byte[] signature = s.Sign(how, key, data);
        True(s.Verify(how, publicKey, data, signature), "a signature holds");
        signature[signature.Length - 1] ^= 1;
        True(!s.Verify(how, publicKey, data, signature), "a changed signature does not");
    }

    static void Encrypted(Session s, byte[] data)
    {
        using (var m = new Memory())
        {
            byte[] iv = Guid.NewGuid().ToByteArray().Take(12).ToArray(), aad = Encoding.UTF8.GetBytes("with it");
            Mechanism gcm = m.With(CKM.AES_GCM, new GcmParams
            {
                Iv = m.Of(iv), IvLength = 12, IvBits = 96, Aad = m.Of(aad), AadLength = (ulong)aad.Length, TagBits = 128,
            });
            byte[] secret = s.Encrypt(gcm, aes, data);
            True(secret.Length == data.Length + 16 && s.Decrypt(gcm, aes, secret).SequenceEqual(data), "what was encrypted comes back");
            secret[0] ^= 1;
            MustRefuse(CKR.ENCRYPTED_DATA_INVALID, () => s.Decrypt(gcm, aes, secret));
        }
    }

    static Mechanism Pss(Memory m)
    {
        return m.With(CKM.SHA256_RSA_PKCS_PSS, new PssParams { Hash = CKM.SHA256, Mgf = CKG.MGF1_SHA256, SaltLength = 32 });
    }

    sealed class Link { public Link Next = null; public int Value = 1; }

    static void NullReference()
    {
        var link = new Link();
        try { True(link.Next.Value == 1, "unreachable"); }
        catch (NullReferenceException) { return; }
        throw new Exception("no NullReferenceException");
    }

    static void MustRefuse(ulong want, Action call)
    {
        try { call(); }
        catch (Refused e) { True(e.Value == want, string.Format("refused with 0x{0:x}, not 0x{1:x}", e.Value, want)); return; }
        throw new Exception(string.Format("not refused with 0x{0:x}", want));
    }

    static void True(bool so, string what) { if (!so) throw new Exception("not so: " + what); }
}
