import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.PublicKey;
import java.security.Signature;
import java.security.SignatureException;
import java.security.interfaces.ECPublicKey;
import java.security.interfaces.RSAPublicKey;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.security.spec.X509EncodedKeySpec;

/** Every signature that SunPKCS11 has, made in the token and verified by Java's own providers, and the other way round. */
final class Signatures {
    private static final String[] HASHES = {"SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512"};
    private static final byte[] DATA = "what is to be signed".getBytes(StandardCharsets.UTF_8);

    static void run(Token token) throws Exception {
        boolean whole = "whole".equals(System.getenv("COFFER_INTEROP"));
        for (int bits : whole ? new int[] {2048, 3072, 4096} : new int[] {2048}) {
            KeyPair pair = token.rsa(bits);
            Main.must(((RSAPublicKey) pair.getPublic()).getModulus().bitLength() == bits, "bits of the modulus");
            for (String hash : HASHES) {
                round(token, pair, hash + "withRSA", "SunRsaSign", null);
                String digest = hash.startsWith("SHA3-") ? hash : hash.replace("SHA", "SHA-");
                int length = switch (hash.substring(hash.length() - 3)) {
                    case "224" -> 28;
                    case "256" -> 32;
                    case "384" -> 48;
                    case "512" -> 64;
                    default -> 20;
                };
                PSSParameterSpec pss = new PSSParameterSpec(digest, "MGF1", new MGF1ParameterSpec(digest), length, 1);
                round(token, pair, "RSASSA-PSS", "SunRsaSign", pss);
                if (!hash.startsWith("SHA3-")) { // Java 17 cannot pass the parameter of those on; RSASSA-PSS takes SHA-3
                    both(token, pair, hash + "withRSASSA-PSS", "RSASSA-PSS", "SunRsaSign", pss);
                }
            }
            round(token, pair, "NONEwithRSA", "SunJCE", null);
            Main.ok("RSA " + bits);
        }
        for (String curve : new String[] {"secp256r1", "secp384r1", "secp521r1"}) {
            KeyPair pair = token.ec(curve);
            Main.must(pair.getPublic() instanceof ECPublicKey, "a public key that is not of EC");
            for (int i = 0; i < 8; i++) { // numbers with leading zeros among them
                for (String hash : HASHES) {
                    round(token, pair, hash + "withECDSA", "SunEC", null);
                    round(token, pair, hash + "withECDSAinP1363Format", "SunEC", null);
                }
            }
            round(token, pair, "NONEwithECDSA", "SunEC", null);
            Main.ok("EC " + curve);
        }
    }

    private static void round(Token token, KeyPair pair, String name, String software, PSSParameterSpec pss) throws Exception {
        both(token, pair, name, name, software, pss);
    }

    /** The public key is taken out of the token in its encoding, so that nothing of the token's takes part. */
    private static void both(Token token, KeyPair pair, String name, String softName, String software, PSSParameterSpec pss) throws Exception {
        Signature sign = Signature.getInstance(name, token.provider());
        sign.initSign(pair.getPrivate());
        if (pss != null) {
            sign.setParameter(pss);
        }
        sign.update(DATA, 0, 5);
        sign.update(DATA, 5, DATA.length - 5);
        byte[] signature = sign.sign();

        String algorithm = pair.getPublic().getAlgorithm();
        PublicKey known = KeyFactory.getInstance(algorithm, algorithm.equals("EC") ? "SunEC" : "SunRsaSign")
            .generatePublic(new X509EncodedKeySpec(pair.getPublic().getEncoded()));
        check(Signature.getInstance(softName, software), known, signature, pss, name + " in software");
        check(Signature.getInstance(name, token.provider()), pair.getPublic(), signature, pss, name + " in the token");
        check(Signature.getInstance(name, token.provider()), known, signature, pss, name + " in the token with a key from outside");
    }

    private static void check(Signature verify, PublicKey key, byte[] signature, PSSParameterSpec pss, String what) throws Exception {
        verify.initVerify(key);
        if (pss != null) {
            verify.setParameter(pss);
        }
        verify.update(DATA);
        Main.must(verify.verify(signature), what);
        verify.update(DATA);
        verify.update((byte) 1);
        boolean wrong;
        try {
            wrong = verify.verify(signature);
        } catch (SignatureException e) {
            wrong = false;
        }
        Main.must(!wrong, what + ": other data");
    }

    private Signatures() {}
}
