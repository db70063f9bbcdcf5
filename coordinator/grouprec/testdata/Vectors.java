// SPDX-License-Identifier: Apache-2.0

import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.coordinator.group.generated.CoordinatorRecordType;

/**
 * Writes records of __consumer_offsets with random values in every version, as Apache Kafka's own classes encode them.
 *
 * <pre>
 * java -cp 'kafka/libs/*' coordinator/grouprec/testdata/Vectors.java > coordinator/grouprec/testdata/vectors.txt
 * </pre>
 *
 * A line is "key name type bytes" or "value name version bytes", the bytes in hexadecimal. The seed is fixed, so that one
 * version of Kafka gives the same file each time.
 */
public class Vectors {
    static final int EACH = 12;
    static final Random random = new Random(44);

    public static void main(String[] args) throws Exception {
        CoordinatorRecordType[] types = CoordinatorRecordType.values();
        Arrays.sort(types, Comparator.comparingInt(CoordinatorRecordType::id));
        for (CoordinatorRecordType type : types) {
            for (int i = 0; i < 2; i++) {
                ApiMessage key = type.newRecordKey();
                fill(key, i, false);
                print("key " + key.getClass().getSimpleName() + " " + type.id(), ByteBuffer.wrap(MessageUtil.toCoordinatorTypePrefixedBytes(key)));
            }
            ApiMessage sample = type.newRecordValue();
            for (short version = sample.lowestSupportedVersion(); version <= sample.highestSupportedVersion(); version++) {
                for (int i = 0; i < EACH; i++) value(type, version, i);
            }
        }
    }

    static void value(CoordinatorRecordType type, short version, int round) throws Exception {
        while (true) { // a field that the version lacks is refused: draw again
            ApiMessage message = type.newRecordValue();
            fill(message, round <= 1 ? 0 : random.nextDouble(), true);
            if (round == 1) nulls(message, version);
            try {
                print("value " + message.getClass().getSimpleName() + " " + version, ByteBuffer.wrap(MessageUtil.toVersionPrefixedBytes(version, message)));
                return;
            } catch (org.apache.kafka.common.errors.UnsupportedVersionException | NullPointerException e) {
                continue;
            }
        }
    }

    /** Sets each field to null that may be null. */
    static void nulls(ApiMessage message, short version) throws Exception {
        for (Method m : message.getClass().getMethods()) {
            if (!m.getName().startsWith("set") || m.getParameterCount() != 1 || m.getParameterTypes()[0].isPrimitive()) continue;
            Object before = message.getClass().getMethod(Character.toLowerCase(m.getName().charAt(3)) + m.getName().substring(4)).invoke(message);
            m.invoke(message, (Object) null);
            try {
                MessageUtil.toVersionPrefixedBytes(version, message);
            } catch (org.apache.kafka.common.errors.UnsupportedVersionException | NullPointerException e) {
                m.invoke(message, before);
            }
        }
    }

    static void print(String head, ByteBuffer buffer) {
        System.out.println(head + " " + HexFormat.of().formatHex(buffer.array()));
    }

    /** Sets each field with the given probability, and adds a tagged field that nobody knows now and then. */
    static void fill(Message message, double probability, boolean tags) throws Exception {
        Method[] methods = message.getClass().getMethods();
        Arrays.sort(methods, Comparator.comparing(Method::getName));
        for (Method m : methods) {
            if (!m.getName().startsWith("set") || m.getParameterCount() != 1 || m.getName().equals("setNext") || m.getName().equals("setPrev")) continue;
            if (random.nextDouble() >= probability) continue;
            boolean absent = tags && !m.getParameterTypes()[0].isPrimitive() && random.nextInt(8) == 0; // refused where it may not be: draw again
            m.invoke(message, absent ? null : value(m.getGenericParameterTypes()[0], probability, tags));
        }
        if (tags && random.nextDouble() < probability / 3) {
            byte[] data = new byte[random.nextInt(200)];
            random.nextBytes(data);
            message.unknownTaggedFields().add(new RawTaggedField(10000 + random.nextInt(1000), data));
        }
    }

    static Object value(Type type, double probability, boolean tags) throws Exception {
        if (type instanceof ParameterizedType list) {
            List<Object> values = new ArrayList<>();
            for (int n = random.nextInt(4); n > 0; n--) values.add(value(list.getActualTypeArguments()[0], probability, tags));
            return values;
        }
        Class<?> c = (Class<?>) type;
        if (c == byte.class || c == Byte.class) return (byte) random.nextInt();
        if (c == short.class || c == Short.class) return (short) random.nextInt();
        if (c == int.class || c == Integer.class) return c == int.class ? random.nextInt(65536) : random.nextInt();
        if (c == long.class || c == Long.class) return random.nextLong();
        if (c == double.class) return random.nextDouble();
        if (c == boolean.class) return random.nextBoolean();
        if (c == String.class) return text();
        if (c == Uuid.class) return new Uuid(random.nextLong(), random.nextLong());
        if (c == byte[].class) return text().getBytes("UTF-8");
        Object value = c.getDeclaredConstructor().newInstance();
        fill((Message) value, probability, tags);
        return value;
    }

    static String text() {
        StringBuilder b = new StringBuilder();
        for (int n = random.nextInt(10) == 0 ? 150 : random.nextInt(12); n > 0; n--) b.append("abcäz_.-7/".charAt(random.nextInt(10)));
        return b.toString();
    }
}
