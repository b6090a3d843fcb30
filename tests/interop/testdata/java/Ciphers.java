import java.security.AlgorithmParameters;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.PublicKey;
import java.security.spec.AlgorithmParameterSpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.Arrays;
import java.util.Random;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.KeyGenerator;
import javax.crypto.SecretKey;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/** AES in its modes, ChaCha20-Poly1305, and RSA: one side in the token, the other in Java's own provider. */
final class Ciphers {
    static void run(Token token) throws Exception {
        Random random = new Random(2);
        for (int bits : new int[] {128, 192, 256}) {
            byte[] value = new byte[bits / 8];
            random.nextBytes(value);
            SecretKey known = new SecretKeySpec(value, "AES"); // SunPKCS11 makes a session object of it
            for (int size : new int[] {0, 1, 16, 100, 4096, 100_000}) {
                byte[] data = new byte[size];
                random.nextBytes(data);
                byte[] iv = Arrays.copyOf(value, 16);
                IvParameterSpec vector = new IvParameterSpec(iv);
                GCMParameterSpec gcm = new GCMParameterSpec(128, Arrays.copyOf(iv, 12));
                both(token, "AES/CBC/PKCS5Padding", known, vector, data, null);
                both(token, "AES/CTR/NoPadding", known, vector, data, null);
                both(token, "AES/ECB/PKCS5Padding", known, null, data, null);
                both(token, "AES/GCM/NoPadding", known, gcm, data, null);
                both(token, "AES/GCM/NoPadding", known, gcm, data, value);
                if (size % 16 == 0) {
                    both(token, "AES/CBC/NoPadding", known, vector, data, null);
                    both(token, "AES/ECB/NoPadding", known, null, data, null);
                }
            }
            SecretKey made = token.aes(bits);
            alone(token, "AES/GCM/NoPadding", made);
            alone(token, "AES/CBC/PKCS5Padding", made);
            alone(token, "AES_" + bits + "/GCM/NoPadding", made);
            damaged(token, made);
            Main.ok("AES " + bits);
        }
        SecretKey chacha = new SecretKeySpec(new byte[32], "ChaCha20");
        both(token, "ChaCha20-Poly1305", chacha, new IvParameterSpec(new byte[12]), new byte[1000], new byte[7]);
        alone(token, "ChaCha20-Poly1305", KeyGenerator.getInstance("ChaCha20", token.provider()).generateKey());
        Main.ok("ChaCha20-Poly1305");
        rsa(token);
    }

    /** Each side reads what the other has written, and both write the same. */
    private static void both(Token token, String name, SecretKey key, AlgorithmParameterSpec spec, byte[] data, byte[] aad) throws Exception {
        Cipher soft = Cipher.getInstance(name, "SunJCE");
        Cipher hard = Cipher.getInstance(name, token.provider());
        byte[] want = once(soft, Cipher.ENCRYPT_MODE, key, spec, data, aad);
        Main.must(Arrays.equals(want, once(hard, Cipher.ENCRYPT_MODE, key, spec, data, aad)), name + " encrypts otherwise");
        Main.must(Arrays.equals(data, once(hard, Cipher.DECRYPT_MODE, key, spec, want, aad)), name + " decrypts otherwise");
    }

    private static byte[] once(Cipher c, int mode, SecretKey key, AlgorithmParameterSpec spec, byte[] data, byte[] aad) throws Exception {
        c.init(mode, key, spec);
        if (aad != null) {
            c.updateAAD(aad);
        }
        if (spec instanceof GCMParameterSpec || c.getAlgorithm().startsWith("ChaCha")) {
            // all at once: after update() Java 17's P11AEADCipher forgets what doFinal() is given, with any token
            return c.doFinal(data);
        }
        int half = data.length / 2;
        byte[] first = c.update(data, 0, half);
        byte[] last = c.doFinal(data, half, data.length - half);
        if (first == null) {
            return last;
        }
        byte[] all = Arrays.copyOf(first, first.length + last.length);
        System.arraycopy(last, 0, all, first.length, last.length);
        return all;
    }

    /** With a key whose value nobody has, and the parameters that the provider chooses. */
    private static void alone(Token token, String name, SecretKey key) throws Exception {
        Token.stays(key);
        byte[] data = new byte[1234];
        Cipher c = Cipher.getInstance(name, token.provider());
        c.init(Cipher.ENCRYPT_MODE, key);
        AlgorithmParameters chosen = c.getParameters();
        byte[] secret = c.doFinal(data);
        Main.must(!Arrays.equals(Arrays.copyOf(secret, data.length), data), name + " does not encrypt");
        c.init(Cipher.DECRYPT_MODE, key, chosen);
        Main.must(Arrays.equals(data, c.doFinal(secret)), name);
    }

    private static void damaged(Token token, SecretKey key) throws Exception {
        Cipher c = Cipher.getInstance("AES/GCM/NoPadding", token.provider());
        c.init(Cipher.ENCRYPT_MODE, key);
        AlgorithmParameters chosen = c.getParameters();
        byte[] secret = c.doFinal(new byte[100]);
        secret[3] ^= 1;
        c.init(Cipher.DECRYPT_MODE, key, chosen);
        try {
            c.doFinal(secret);
        } catch (AEADBadTagException e) {
            return;
        }
        throw new AssertionError("a damaged ciphertext was taken");
    }

    private static void rsa(Token token) throws Exception {
        KeyPair pair = token.rsa(2048);
        PublicKey known = KeyFactory.getInstance("RSA", "SunRsaSign").generatePublic(new X509EncodedKeySpec(pair.getPublic().getEncoded()));
        byte[] data = {1, 2, 3, 4};
        for (String name : new String[] {"RSA/ECB/PKCS1Padding", "RSA/ECB/NoPadding"}) {
            Cipher soft = Cipher.getInstance(name, "SunJCE");
            soft.init(Cipher.ENCRYPT_MODE, known);
            byte[] secret = soft.doFinal(data);
            Cipher hard = Cipher.getInstance(name, token.provider());
            hard.init(Cipher.DECRYPT_MODE, pair.getPrivate());
            byte[] got = hard.doFinal(secret);
            Main.must(Arrays.equals(data, Arrays.copyOfRange(got, got.length - data.length, got.length)), name);
            hard.init(Cipher.ENCRYPT_MODE, pair.getPublic());
            secret = hard.doFinal(data);
            hard.init(Cipher.DECRYPT_MODE, pair.getPrivate());
            got = hard.doFinal(secret);
            Main.must(Arrays.equals(data, Arrays.copyOfRange(got, got.length - data.length, got.length)), name + " in the token");
        }
        Cipher c = Cipher.getInstance("RSA/ECB/PKCS1Padding", token.provider());
        SecretKey session = new SecretKeySpec(new byte[16], "AES");
        c.init(Cipher.WRAP_MODE, pair.getPublic());
        byte[] wrapped = c.wrap(session);
        c.init(Cipher.UNWRAP_MODE, pair.getPrivate());
        SecretKey back = (SecretKey) c.unwrap(wrapped, "AES", Cipher.SECRET_KEY);
        IvParameterSpec iv = new IvParameterSpec(new byte[16]);
        Cipher use = Cipher.getInstance("AES/CBC/PKCS5Padding", token.provider());
        byte[] secret = once(use, Cipher.ENCRYPT_MODE, back, iv, data, null);
        Cipher soft = Cipher.getInstance("AES/CBC/PKCS5Padding", "SunJCE");
        Main.must(Arrays.equals(data, once(soft, Cipher.DECRYPT_MODE, session, iv, secret, null)), "an unwrapped key");
        Main.ok("RSA ciphers");
    }

    private Ciphers() {}
}
