import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Random;
import javax.crypto.KeyGenerator;
import javax.crypto.Mac;
import javax.crypto.SecretKey;
import javax.crypto.spec.SecretKeySpec;

/** MessageDigest, Mac and SecureRandom. */
final class Digests {
    private static final String[] DIGESTS = {"SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512", "SHA-512/224", "SHA-512/256",
        "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512"};
    private static final String[] MACS = {"HmacSHA1", "HmacSHA224", "HmacSHA256", "HmacSHA384", "HmacSHA512", "HmacSHA512/224",
        "HmacSHA512/256", "HmacSHA3-224", "HmacSHA3-256", "HmacSHA3-384", "HmacSHA3-512"};

    static void run(Token token) throws Exception {
        byte[] data = new byte[100_000];
        new Random(1).nextBytes(data);
        SecretKey known = new SecretKeySpec(Arrays.copyOf(data, 48), "Generic");
        for (String name : MACS) {
            Mac soft = Mac.getInstance(name, "SunJCE");
            soft.init(known);
            Mac mac = Mac.getInstance(name, token.provider());
            mac.init(known);
            mac.update(data, 0, 777);
            mac.update(data, 777, data.length - 777);
            Main.must(Arrays.equals(soft.doFinal(data), mac.doFinal()), name);

            KeyGenerator g = KeyGenerator.getInstance(name, token.provider());
            SecretKey made = g.generateKey();
            Token.stays(made);
            mac.init(made);
            byte[] tag = mac.doFinal(data);
            Main.must(Arrays.equals(tag, mac.doFinal(data)), name + " with a key of the token");
            mac.init(g.generateKey());
            Main.must(!Arrays.equals(tag, mac.doFinal(data)), name + " with another key");
            Main.ok(name);
        }
        SecureRandom r = SecureRandom.getInstance("PKCS11", token.provider());
        byte[] one = new byte[64];
        byte[] other = new byte[64];
        r.nextBytes(one);
        r.nextBytes(other);
        Main.must(!Arrays.equals(one, other), "the generator repeats itself");
        Main.ok("SecureRandom");
        for (String name : DIGESTS) {
            byte[] want = MessageDigest.getInstance(name, "SUN").digest(data);
            MessageDigest d = MessageDigest.getInstance(name, token.provider());
            Main.must(Arrays.equals(want, d.digest(data)), name);
            d.update(data, 0, 777);
            MessageDigest half = (MessageDigest) d.clone(); // by C_GetOperationState
            d.update(data, 777, data.length - 777);
            Main.must(Arrays.equals(want, d.digest()), name + " in parts");
            half.update(data, 777, data.length - 777);
            Main.must(Arrays.equals(want, half.digest()), name + " of a clone");
            Main.ok(name);
        }
    }

    private Digests() {}
}
