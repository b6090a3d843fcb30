import java.security.Key;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.Provider;
import java.security.Security;
import java.security.spec.ECGenParameterSpec;
import javax.crypto.KeyGenerator;
import javax.crypto.SecretKey;

/** The provider over the library, and its key store, logged in. */
record Token(Provider provider, KeyStore store) {
    static Token open(String configuration) throws Exception {
        Provider p = Security.getProvider("SunPKCS11").configure(configuration);
        Security.addProvider(p); // last: what is not a key of the token goes on in software
        KeyStore store = KeyStore.getInstance("PKCS11", p);
        store.load(null, System.getenv("COFFER_PIN").toCharArray());
        return new Token(p, store);
    }

    KeyPair rsa(int bits) throws Exception {
        KeyPairGenerator g = KeyPairGenerator.getInstance("RSA", provider);
        g.initialize(bits);
        return stays(g.generateKeyPair());
    }

    KeyPair ec(String curve) throws Exception {
        KeyPairGenerator g = KeyPairGenerator.getInstance("EC", provider);
        g.initialize(new ECGenParameterSpec(curve));
        return stays(g.generateKeyPair());
    }

    SecretKey aes(int bits) throws Exception {
        KeyGenerator g = KeyGenerator.getInstance("AES", provider);
        g.init(bits);
        SecretKey key = g.generateKey();
        stays(key);
        return key;
    }

    private static KeyPair stays(KeyPair pair) {
        stays(pair.getPrivate());
        return pair;
    }

    /** A key that Java can have the value of has an encoding. */
    static void stays(Key key) {
        Main.must(key.getEncoded() == null, "the value of a key that was made in the token can be read");
        Main.must(key.toString().contains("sensitive, unextractable"), key.toString());
    }
}
