import java.util.Map;

/** A program that uses a token through SunPKCS11 as Java programs do: {@code java Main COMMAND CONFIGURATION}, with COFFER_PIN. */
public final class Main {
    interface Command {
        void run(Token token) throws Exception;
    }

    private static final Map<String, Command> COMMANDS = Map.of(
        "digests", Digests::run,
        "signatures", Signatures::run,
        "ciphers", Ciphers::run,
        "agreement", Agreement::run,
        "store-fill", Stores::fill,
        "store-use", Stores::use,
        "store-empty", Stores::empty,
        "tls", Tls::run,
        "tls-token-first", Tls::tokenFirst,
        "pool", Pool::run);

    public static void main(String[] args) throws Exception {
        COMMANDS.get(args[0]).run(Token.open(args[1]));
    }

    /** Says what has been shown; the test reads it. */
    static void ok(String what) {
        System.out.println("ok " + what);
    }

    static void must(boolean is, String what) {
        if (!is) {
            throw new AssertionError(what);
        }
    }

    private Main() {}
}
