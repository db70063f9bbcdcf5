// SPDX-License-Identifier: Apache-2.0

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs main methods of Kafka's tools one after the other in one JVM, each as if
 * it had one of its own: its own classes of the jars that are the arguments, so
 * that nothing static is left of the run before; its own stdin, stdout and
 * stderr, also for the threads it starts; its exit ends it and nothing else; it
 * lasts until its last thread that is no daemon has ended, and then its shutdown
 * hooks run. A class that calls System.exit itself ends the JVM and cannot be
 * run here.
 *
 * <p>Requests are lines of JSON on stdin: class, arguments, stdin, timeout_ms;
 * answers are lines of JSON on stdout: code, out, err, both (in the order of
 * writing), all in base64, and with stuck what a run was doing that did not end
 * in time. The JVM is of no use after such a run.
 */
public final class Toolbox {
    private static final InheritableThreadLocal<Run> CURRENT = new InheritableThreadLocal<>();

    private Toolbox() {
    }

    public static void main(String[] jars) throws Exception {
        URL[] own = new URL[jars.length];
        for (int i = 0; i < jars.length; i++) {
            own[i] = Path.of(jars[i]).toUri().toURL();
        }
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
        PrintStream answers = System.out;
        // Set once: scala.Console keeps what it has found first.
        System.setIn(new CurrentInput());
        System.setOut(new PrintStream(new CurrentOutput(false), true));
        System.setErr(new PrintStream(new CurrentOutput(true), true));
        Exit.setExitProcedure((code, message) -> Run.exit(code));
        Exit.setHaltProcedure((code, message) -> Run.exit(code));
        Exit.setShutdownHookAdder((name, hook) -> CURRENT.get().hooks.add(hook));
        Thread.setDefaultUncaughtExceptionHandler((thread, thrown) -> Run.uncaught(thread.getName(), thrown));
        ObjectMapper json = new ObjectMapper();
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            ObjectNode answer = new Run(own, json.readTree(line)).answer(json);
            answers.println(json.writeValueAsString(answer));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    /** Ends the thread that has called exit. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1;

        private Ended() {
            super(null, null, false, false);
        }
    }

    private static final class Run {
        private final JsonNode request;
        private final InputStream in;
        private final List<Runnable> hooks = new ArrayList<>();
        private final ByteArrayOutputStream out = new ByteArrayOutputStream();
        private final ByteArrayOutputStream err = new ByteArrayOutputStream();
        private final ByteArrayOutputStream both = new ByteArrayOutputStream();
        private final ThreadGroup threads;
        private final long end;
        private final URL[] jars;
        private Integer code; // once it has called exit
        private boolean hooking;
        private boolean closed;

        private Run(URL[] jars, JsonNode request) throws Exception {
            this.jars = jars;
            this.request = request;
            in = new ByteArrayInputStream(request.get("stdin").binaryValue());
            threads = new ThreadGroup(request.get("class").asText());
            end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(request.get("timeout_ms").asLong());
        }

        /** Notes the code of a run that exits, and ends the thread; what it still says is not heard. */
        private static void exit(int code) {
            Run run = CURRENT.get();
            synchronized (run) {
                if (run.code == null) {
                    run.code = code;
                }
            }
            throw new Ended();
        }

        private static void uncaught(String thread, Throwable thrown) {
            if (thrown instanceof Ended) {
                return;
            }
            System.err.print("Exception in thread \"" + thread + "\" ");
            thrown.printStackTrace();
        }

        private synchronized void write(boolean error, byte[] bytes, int from, int length) {
            if (closed || code != null && !hooking) {
                return;
            }
            (error ? err : out).write(bytes, from, length);
            both.write(bytes, from, length);
        }

        private synchronized Integer code() {
            return code;
        }

        private ObjectNode answer(ObjectMapper json) throws Exception {
            int[] thrown = {0};
            Thread main = new Thread(threads, () -> {
                CURRENT.set(this);
                thrown[0] = main();
            }, "main");
            main.start();
            boolean ended = await(() -> code() != null || !main.isAlive() && !othersRun());
            if (ended && code() != null) {
                main.join(TimeUnit.SECONDS.toMillis(5)); // it closes what it has opened
            }
            String stuck = ended ? null : stacks();
            if (ended) {
                Thread last = new Thread(threads, this::runHooks, "shutdown");
                last.start();
                if (!await(() -> !last.isAlive())) {
                    stuck = stacks();
                }
            }
            synchronized (this) {
                closed = true;
                ObjectNode answer = json.createObjectNode();
                answer.put("code", code == null ? thrown[0] : code);
                answer.put("out", out.toByteArray()).put("err", err.toByteArray()).put("both", both.toByteArray());
                return stuck == null ? answer : answer.put("stuck", stuck);
            }
        }

        private int main() {
            String[] arguments = new String[request.get("arguments").size()];
            for (int i = 0; i < arguments.length; i++) {
                arguments[i] = request.get("arguments").get(i).asText();
            }
            try {
                URLClassLoader loader = new URLClassLoader(jars, Toolbox.class.getClassLoader());
                Thread.currentThread().setContextClassLoader(loader);
                Class.forName(request.get("class").asText(), true, loader).getMethod("main", String[].class).invoke(null, (Object) arguments);
                return 0;
            } catch (InvocationTargetException thrown) {
                uncaught("main", thrown.getCause());
                return 1;
            } catch (ReflectiveOperationException noTool) {
                uncaught("main", noTool);
                return 1;
            }
        }

        private void runHooks() {
            CURRENT.set(this);
            List<Runnable> all;
            synchronized (this) {
                hooking = true;
                all = List.copyOf(hooks);
            }
            all.forEach(Runnable::run);
        }

        private boolean othersRun() {
            for (Thread thread : list()) {
                if (!thread.isDaemon()) {
                    return true;
                }
            }
            return false;
        }

        private List<Thread> list() {
            Thread[] all = new Thread[threads.activeCount() + 16];
            return Arrays.asList(all).subList(0, threads.enumerate(all));
        }

        private boolean await(BooleanSupplier so) throws InterruptedException {
            while (!so.getAsBoolean()) {
                if (System.nanoTime() > end) {
                    return false;
                }
                Thread.sleep(2);
            }
            return true;
        }

        private String stacks() {
            StringBuilder text = new StringBuilder();
            for (Thread thread : list()) {
                text.append(thread.getName()).append('\n');
                for (StackTraceElement at : thread.getStackTrace()) {
                    text.append("\tat ").append(at).append('\n');
                }
            }
            return text.toString();
        }
    }

    /** The stdin of the run that reads. */
    private static final class CurrentInput extends InputStream {
        @Override
        public int read() throws IOException {
            return CURRENT.get().in.read();
        }

        @Override
        public int read(byte[] into, int from, int length) throws IOException {
            return CURRENT.get().in.read(into, from, length);
        }
    }

    /** What the run that writes says. */
    private static final class CurrentOutput extends OutputStream {
        private final boolean error;

        private CurrentOutput(boolean error) {
            this.error = error;
        }

        @Override
        public void write(int one) {
            write(new byte[] {(byte) one}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int from, int length) {
            Run run = CURRENT.get();
            if (run != null) {
                run.write(error, bytes, from, length);
            }
        }
    }
}
