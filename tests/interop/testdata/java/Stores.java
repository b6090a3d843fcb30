import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.Security;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import javax.crypto.Cipher;
import javax.crypto.Mac;
import javax.crypto.SecretKey;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/** KeyStore: keys made in the token and imported ones, with chains; each step in a process of its own. */
final class Stores {
    private static final List<String> PAIRS = List.of("rsa", "ec", "rsa-imported", "ec-imported");
    private static final GCMParameterSpec GCM = new GCMParameterSpec(128, new byte[12]);
    private static final byte[] SECRET = "known".repeat(8).getBytes();
    private static final Path SEALED = Path.of("sealed");

    static void fill(Token token) throws Exception {
        Provider soft = Security.getProvider("SunEC");
        KeyPair authority = software("EC", soft);
        X509Certificate root = Certificates.issue("CN=Root", authority.getPublic(), "CN=Root", authority.getPrivate(), soft);
        for (String alias : PAIRS) {
            boolean rsa = alias.startsWith("rsa");
            KeyPair pair;
            if (alias.endsWith("imported")) {
                pair = software(rsa ? "RSA" : "EC", Security.getProvider(rsa ? "SunRsaSign" : "SunEC"));
            } else {
                pair = rsa ? token.rsa(2048) : token.ec("secp256r1");
            }
            // first alone with a certificate that it has signed itself, then with the chain, as keytool -importcert does it
            X509Certificate own = Certificates.issue("CN=" + alias, pair.getPublic(), "CN=" + alias, pair.getPrivate(),
                alias.endsWith("imported") ? Security.getProvider(rsa ? "SunRsaSign" : "SunEC") : token.provider());
            token.store().setKeyEntry(alias, pair.getPrivate(), null, new Certificate[] {own});
            PrivateKey kept = (PrivateKey) token.store().getKey(alias, null);
            Token.stays(kept);
            X509Certificate leaf = Certificates.issue("CN=" + alias, pair.getPublic(), "CN=Root", authority.getPrivate(), soft);
            token.store().setKeyEntry(alias, kept, null, new Certificate[] {leaf, root});
        }
        SecretKey aes = token.aes(256);
        token.store().setKeyEntry("aes", aes, null, null);
        token.store().setKeyEntry("hmac-imported", new SecretKeySpec(SECRET, "HmacSHA256"), null, null);
        token.store().setKeyEntry("aes-imported", new SecretKeySpec(SECRET, 0, 32, "AES"), null, null);
        Cipher c = Cipher.getInstance("AES/GCM/NoPadding", token.provider());
        c.init(Cipher.ENCRYPT_MODE, aes, GCM);
        Files.write(SEALED, c.doFinal(SECRET));
        Main.ok("filled");
    }

    static void use(Token token) throws Exception {
        KeyStore store = token.store();
        Set<String> want = new HashSet<>(PAIRS);
        want.addAll(List.of("aes", "hmac-imported", "aes-imported"));
        Set<String> found = new HashSet<>(Collections.list(store.aliases()));
        Main.must(found.equals(want), "aliases: " + found);
        for (String alias : PAIRS) {
            Main.must(store.isKeyEntry(alias) && store.entryInstanceOf(alias, KeyStore.PrivateKeyEntry.class), alias);
            PrivateKey key = (PrivateKey) store.getKey(alias, null);
            Token.stays(key);
            Certificate[] chain = store.getCertificateChain(alias);
            Main.must(chain.length == 2, alias + ": a chain of " + chain.length);
            chain[0].verify(chain[1].getPublicKey());
            Main.must(alias.equals(store.getCertificateAlias(chain[0])), "the alias of a certificate");
            String name = alias.startsWith("rsa") ? "SHA256withRSA" : "SHA256withECDSA";
            Signature s = Signature.getInstance(name); // the provider that takes the key is found by itself
            s.initSign(key);
            Main.must(s.getProvider() == token.provider(), "signed by " + s.getProvider());
            s.update(SECRET);
            byte[] signature = s.sign();
            Signature v = Signature.getInstance(name, alias.startsWith("rsa") ? "SunRsaSign" : "SunEC");
            v.initVerify(chain[0]);
            v.update(SECRET);
            Main.must(v.verify(signature), alias);
            Main.ok(alias);
        }
        SecretKey aes = (SecretKey) store.getKey("aes", null);
        Token.stays(aes);
        Cipher c = Cipher.getInstance("AES/GCM/NoPadding", token.provider());
        c.init(Cipher.DECRYPT_MODE, aes, GCM);
        Main.must(Arrays.equals(SECRET, c.doFinal(Files.readAllBytes(SEALED))), "the key is another one");
        Main.ok("aes");

        SecretKey hmac = (SecretKey) store.getKey("hmac-imported", null);
        Token.stays(hmac);
        Mac hard = Mac.getInstance("HmacSHA256", token.provider());
        hard.init(hmac);
        Mac soft = Mac.getInstance("HmacSHA256", "SunJCE");
        soft.init(new SecretKeySpec(SECRET, "HmacSHA256"));
        Main.must(Arrays.equals(hard.doFinal(SECRET), soft.doFinal(SECRET)), "an imported key");
        Main.ok("hmac-imported");
    }

    static void empty(Token token) throws Exception {
        for (String alias : Collections.list(token.store().aliases())) {
            token.store().deleteEntry(alias);
        }
        token.store().load(null, System.getenv("COFFER_PIN").toCharArray());
        Main.must(token.store().size() == 0, "left: " + Collections.list(token.store().aliases()));
        Main.ok("emptied");
    }

    private static KeyPair software(String type, Provider provider) throws Exception {
        KeyPairGenerator g = KeyPairGenerator.getInstance(type, provider);
        if (type.equals("EC")) {
            g.initialize(new ECGenParameterSpec("secp256r1"));
        }
        return g.generateKeyPair();
    }

    private Stores() {}
}
