import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.Security;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** A server whose key is in the token, and a client that shows a certificate of the token. */
final class Tls {
    static void run(Token token) throws Exception {
        serve(token);
    }

    /** With the provider before all others, whatever TLS computes goes through the token. */
    static void tokenFirst(Token token) throws Exception {
        Security.removeProvider(token.provider().getName());
        Security.insertProviderAt(token.provider(), 1);
        serve(token);
    }

    private static SSLContext context(Token token) throws Exception {
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(token.store(), null);
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(token.store()); // the authority's certificate is in the token too
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    /** Serves until the standard input has a line, then asks the server that it names for a page. */
    private static void serve(Token token) throws Exception {
        SSLContext context = context(token);
        HttpsServer server = HttpsServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.setHttpsConfigurator(new HttpsConfigurator(context));
        server.createContext("/", exchange -> {
            byte[] page = "served by Java\n".getBytes();
            exchange.sendResponseHeaders(200, page.length);
            exchange.getResponseBody().write(page);
            exchange.close();
        });
        ExecutorService workers = Executors.newFixedThreadPool(8);
        server.setExecutor(workers);
        server.start();
        System.out.println("port " + server.getAddress().getPort() + ".");
        String url = new BufferedReader(new InputStreamReader(System.in)).readLine();
        server.stop(0);
        workers.shutdown();
        HttpResponse<String> answer = HttpClient.newBuilder().sslContext(context).build()
            .send(HttpRequest.newBuilder(URI.create(url)).build(), HttpResponse.BodyHandlers.ofString());
        System.out.println("answer " + answer.body());
        System.exit(0);
    }

    private Tls() {}
}
