import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.PublicKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.HexFormat;
import javax.security.auth.x500.X500Principal;

/** Certificates of version 1 (RFC 5280, 4.1), which the JDK has no public way to make. */
final class Certificates {
    private static final byte[] ECDSA_SHA256 = hex("300a06082a8648ce3d040302");
    private static final byte[] RSA_SHA256 = hex("300d06092a864886f70d01010b0500");

    static X509Certificate issue(String subject, PublicKey key, String issuer, PrivateKey by, Provider provider) throws Exception {
        boolean ec = by.getAlgorithm().equals("EC");
        byte[] algorithm = ec ? ECDSA_SHA256 : RSA_SHA256;
        byte[] body = der(0x30,
            der(0x02, new BigInteger(63, new SecureRandom()).toByteArray()),
            algorithm,
            new X500Principal(issuer).getEncoded(),
            der(0x30, time("20200101000000Z"), time("20990101000000Z")),
            new X500Principal(subject).getEncoded(),
            key.getEncoded());
        Signature s = Signature.getInstance(ec ? "SHA256withECDSA" : "SHA256withRSA", provider);
        s.initSign(by);
        s.update(body);
        byte[] whole = der(0x30, body, algorithm, der(0x03, new byte[1], s.sign()));
        return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(whole));
    }

    private static byte[] time(String generalized) {
        return der(0x18, generalized.getBytes(StandardCharsets.US_ASCII));
    }

    private static byte[] der(int tag, byte[]... parts) {
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        for (byte[] p : parts) {
            content.writeBytes(p);
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(tag);
        int n = content.size();
        if (n < 0x80) {
            out.write(n);
        } else if (n < 0x100) {
            out.writeBytes(new byte[] {(byte) 0x81, (byte) n});
        } else {
            out.writeBytes(new byte[] {(byte) 0x82, (byte) (n >> 8), (byte) n});
        }
        out.writeBytes(content.toByteArray());
        return out.toByteArray();
    }

    private static byte[] hex(String s) {
        return HexFormat.of().parseHex(s);
    }

    private Certificates() {}
}
