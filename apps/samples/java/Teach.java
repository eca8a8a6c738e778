import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * A .tflite that trains itself, from the JVM: the whole story in one program.
 *
 * <pre>
 * Teach train LIBRARY MODEL DATA WEIGHTS     accuracy, remember, train, accuracy, save
 * Teach restore LIBRARY MODEL DATA WEIGHTS   a new process: load, accuracy
 * </pre>
 *
 * LIBRARY is libLiteRt.so. MODEL is what tflm-fg-export --target=signatures wrote. DATA is a
 * folder with train_x.bin, train_y.bin, test_x.bin and test_y.bin (../make_data.py). WEIGHTS is
 * the file that keeps what was learned. The last line is JSON, for programs.
 */
public final class Teach {
  private static final int STEPS = 100;
  private static final float RATE = 1.0f;
  private static final int EPOCHS = 8;

  private record Samples(byte[][] x, int[] y) {
    static Samples read(Path folder, String what, int bytes) throws IOException {
      byte[] all = Files.readAllBytes(folder.resolve(what + "_x.bin"));
      byte[] labels = Files.readAllBytes(folder.resolve(what + "_y.bin"));
      IntBuffer numbers = ByteBuffer.wrap(labels).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer();
      int[] y = new int[numbers.remaining()];
      numbers.get(y);
      if (all.length != y.length * bytes) {
        throw new IOException(what + "_x.bin does not hold as many samples as there are labels");
      }
      byte[][] x = new byte[y.length][];
      for (int i = 0; i < y.length; i++) {
        x[i] = Arrays.copyOfRange(all, i * bytes, (i + 1) * bytes);
      }
      return new Samples(x, y);
    }
  }

  private static byte[] bytes(int value) {
    return ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array();
  }

  private static byte[] bytes(float value) {
    return bytes(Float.floatToIntBits(value));
  }

  private static ByteBuffer numbers(byte[] value) {
    return ByteBuffer.wrap(value).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static double accuracy(Trainable model, Samples test) {
    int type = model.type("infer", "probabilities");
    int right = 0;
    for (int i = 0; i < test.y.length; i++) {
      byte[] scores = model.run("infer", Map.of("x", test.x[i])).get("probabilities");
      right += best(scores, type) == test.y[i] ? 1 : 0;
    }
    return right / (double) test.y.length;
  }

  private static int best(byte[] scores, int type) {
    int most = 0;
    double highest = Double.NEGATIVE_INFINITY;
    for (int i = 0; i < scores.length / (type == LiteRt.FLOAT32 ? 4 : 1); i++) {
      double score =
          switch (type) {
            case LiteRt.FLOAT32 -> numbers(scores).getFloat(4 * i);
            case LiteRt.UINT8 -> Byte.toUnsignedInt(scores[i]);
            default -> scores[i];
          };
      if (score > highest) {
        highest = score;
        most = i;
      }
    }
    return most;
  }

  /**
   * Fits the input to the samples, in files that can: a batch a call, and each epoch in other
   * batches. A label of -1 marks a row that does not count.
   */
  private static void adaptInput(Trainable model, Samples train) {
    if (!model.has("adapt_input")) {
      return;
    }
    SortedMap<String, Integer> sizes = model.inputSizes("adapt_input");
    int batch = sizes.get("y") / 4;
    int count = train.y.length;
    int seed = 0;
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
      for (int first = 0; first < count; first += batch) {
        ByteBuffer x = ByteBuffer.allocate(sizes.get("x"));
        ByteBuffer y = ByteBuffer.allocate(sizes.get("y")).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = first; i < first + batch; i++) {
          if (i < count) {
            x.put(train.x[(i + epoch) % count]);
          }
          y.putInt(i < count ? train.y[(i + epoch) % count] : -1);
        }
        model.run("adapt_input", Map.of("x", x.array(), "y", y.array(), "seed", bytes(seed)));
        seed++;
      }
    }
  }

  /** Writes beside the place and renames, so that a reader finds all or what was before. */
  private static void save(Trainable model, Path path) throws IOException {
    SortedMap<String, byte[]> weights = model.run("get_weights", Map.of());
    ByteBuffer all = ByteBuffer.allocate(weights.values().stream().mapToInt(w -> w.length).sum());
    weights.values().forEach(all::put);
    Path beside = path.resolveSibling(path.getFileName() + ".new");
    Files.write(beside, all.array());
    Files.move(
        beside, path, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
  }

  private static void restore(Trainable model, Path path) throws IOException {
    ByteBuffer all = ByteBuffer.wrap(Files.readAllBytes(path));
    SortedMap<String, Integer> sizes = model.inputSizes("set_weights");
    if (all.remaining() != sizes.values().stream().mapToInt(Integer::intValue).sum()) {
      throw new IOException(path + " holds no weights of this model");
    }
    Map<String, byte[]> weights = new TreeMap<>();
    sizes.forEach(
        (name, size) -> {
          byte[] value = new byte[size];
          all.get(value);
          weights.put(name, value);
        });
    if (numbers(model.run("set_weights", weights).get("accepted")).getInt() == 0) {
      throw new IOException("the model refuses the weights of " + path);
    }
  }

  public static void main(String[] arguments) throws IOException {
    if (arguments.length != 5 || !arguments[0].matches("train|restore")) {
      System.err.println("usage: Teach train|restore LIBRARY MODEL DATA WEIGHTS");
      System.exit(2);
    }
    Path data = Path.of(arguments[3]);
    Path kept = Path.of(arguments[4]);
    try (Trainable model =
        new Trainable(arguments[1], Files.readAllBytes(Path.of(arguments[2])))) {
      int size = model.inputSizes("infer").get("x");
      Samples train = Samples.read(data, "train", size);
      Samples test = Samples.read(data, "test", size);
      long start = System.nanoTime();
      double before = accuracy(model, test);
      double inferMs = (System.nanoTime() - start) / 1e6 / test.y.length;
      System.out.printf(Locale.ROOT, "accuracy before: %.4f%n", before);
      int count = 0;
      float loss = 0;
      double adaptInputMs = 0;
      double rememberMs = 0;
      double trainMs = 0;
      if (arguments[0].equals("train")) {
        start = System.nanoTime();
        adaptInput(model, train);
        adaptInputMs = (System.nanoTime() - start) / 1e6;
        start = System.nanoTime();
        for (int i = 0; i < train.y.length; i++) {
          Map<String, byte[]> sample = Map.of("x", train.x[i], "y", bytes(train.y[i]));
          count = numbers(model.run("remember", sample).get("count")).getInt();
        }
        rememberMs = (System.nanoTime() - start) / 1e6 / train.y.length;
        start = System.nanoTime();
        Map<String, byte[]> how = Map.of("steps", bytes(STEPS), "rate", bytes(RATE));
        loss = numbers(model.run("train", how).get("loss")).getFloat();
        trainMs = (System.nanoTime() - start) / 1e6;
        System.out.printf(Locale.ROOT, "remembered %d samples, loss %.4f%n", count, loss);
      } else {
        restore(model, kept);
      }
      save(model, kept);
      double after = accuracy(model, test);
      System.out.printf(Locale.ROOT, "accuracy after: %.4f%n", after);
      System.out.printf(
          Locale.ROOT,
          "{\"before\": %.4f, \"after\": %.4f, \"count\": %d, \"loss\": %.6f, "
              + "\"infer_ms\": %.4f, \"adapt_input_ms\": %.4f, \"remember_ms\": %.4f, "
              + "\"train_ms\": %.4f}%n",
          before, after, count, loss, inferMs, adaptInputMs, rememberMs, trainMs);
    }
  }
}
