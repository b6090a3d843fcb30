import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PublicKey;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.Arrays;
import javax.crypto.KeyAgreement;

/** ECDH and Diffie-Hellman between the token and Java's own providers. */
final class Agreement {
    static void run(Token token) throws Exception {
        for (String curve : new String[] {"secp256r1", "secp384r1", "secp521r1"}) {
            KeyPairGenerator g = KeyPairGenerator.getInstance("EC", "SunEC");
            g.initialize(new ECGenParameterSpec(curve));
            agree(token, token.ec(curve), g.generateKeyPair(), "ECDH", "EC", "SunEC");
            Main.ok("ECDH " + curve);
        }
        KeyPairGenerator hard = KeyPairGenerator.getInstance("DH", token.provider());
        KeyPairGenerator soft = KeyPairGenerator.getInstance("DH", "SunJCE");
        soft.initialize(2048);
        KeyPair there = soft.generateKeyPair();
        hard.initialize(((javax.crypto.interfaces.DHPublicKey) there.getPublic()).getParams());
        agree(token, hard.generateKeyPair(), there, "DH", "DH", "SunJCE");
        Main.ok("DH");
    }

    private static void agree(Token token, KeyPair here, KeyPair there, String name, String type, String software) throws Exception {
        PublicKey known = KeyFactory.getInstance(type, software).generatePublic(new X509EncodedKeySpec(here.getPublic().getEncoded()));
        KeyAgreement soft = KeyAgreement.getInstance(name, software);
        soft.init(there.getPrivate());
        soft.doPhase(known, true);
        byte[] want = soft.generateSecret();
        for (int i = 0; i < 2; i++) {
            KeyAgreement hard = KeyAgreement.getInstance(name, token.provider());
            hard.init(here.getPrivate());
            hard.doPhase(there.getPublic(), true);
            Main.must(Arrays.equals(want, hard.generateSecret()), name + " agrees on something else");
        }
    }

    private Agreement() {}
}
