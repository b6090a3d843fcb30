import java.security.AlgorithmParameters;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import javax.crypto.Cipher;
import javax.crypto.SecretKey;

/** Sixteen threads with the same keys for COFFER_LOAD_SECONDS; every result is checked in software or by its way back. */
final class Pool {
    static void run(Token token) throws Exception {
        KeyPair rsa = token.rsa(2048);
        KeyPair ec = token.ec("secp256r1");
        SecretKey aes = token.aes(256);
        PublicKey rsaKnown = KeyFactory.getInstance("RSA", "SunRsaSign").generatePublic(new X509EncodedKeySpec(rsa.getPublic().getEncoded()));
        PublicKey ecKnown = KeyFactory.getInstance("EC", "SunEC").generatePublic(new X509EncodedKeySpec(ec.getPublic().getEncoded()));
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(Long.parseLong(System.getenv("COFFER_LOAD_SECONDS")));
        ExecutorService threads = Executors.newFixedThreadPool(16);
        List<Future<Integer>> all = new ArrayList<>();
        for (int n = 0; n < 16; n++) {
            int me = n;
            all.add(threads.submit(() -> {
                int done = 0;
                for (; System.nanoTime() < end; done++) {
                    byte[] data = ("thread " + me + " message " + done).getBytes();
                    sign(token, "SHA256withRSA", rsa, "SunRsaSign", rsaKnown, data);
                    sign(token, "SHA256withECDSA", ec, "SunEC", ecKnown, data);
                    Cipher c = Cipher.getInstance("AES/GCM/NoPadding", token.provider());
                    c.init(Cipher.ENCRYPT_MODE, aes);
                    AlgorithmParameters chosen = c.getParameters();
                    byte[] secret = c.doFinal(data);
                    c.init(Cipher.DECRYPT_MODE, aes, chosen);
                    Main.must(Arrays.equals(data, c.doFinal(secret)), "another message");
                    if (done % 50 == 0) { // keys that come and go beside it
                        token.ec("secp256r1");
                    }
                }
                return done;
            }));
        }
        int total = 0;
        for (Future<Integer> f : all) {
            int done = f.get();
            Main.must(done > 0, "a thread did nothing");
            total += done;
        }
        threads.shutdown();
        Main.ok("pool of 16: " + total + " rounds");
    }

    private static void sign(Token token, String name, KeyPair pair, String software, PublicKey known, byte[] data) throws Exception {
        Signature s = Signature.getInstance(name, token.provider());
        s.initSign(pair.getPrivate());
        s.update(data);
        byte[] signature = s.sign();
        Signature v = Signature.getInstance(name, software);
        v.initVerify(known);
        v.update(data);
        Main.must(v.verify(signature), name);
    }

    private Pool() {}
}
