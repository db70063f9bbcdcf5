// SPDX-License-Identifier: Apache-2.0

import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.util.AbstractCollection;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.function.Supplier;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.KRaftVersionRecord;
import org.apache.kafka.common.message.LeaderChangeMessage;
import org.apache.kafka.common.message.SnapshotFooterRecord;
import org.apache.kafka.common.message.SnapshotHeaderRecord;
import org.apache.kafka.common.message.VotersRecord;
import org.apache.kafka.common.metadata.MetadataRecordType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.metadata.MetadataRecordSerde;
import org.apache.kafka.server.common.ApiMessageAndVersion;

/**
 * Writes metadata and control records with random values in every version, as Apache Kafka's own classes encode them.
 *
 * <pre>
 * java -cp 'kafka/libs/*' cluster/metarec/testdata/Vectors.java > cluster/metarec/testdata/vectors.txt
 * </pre>
 *
 * A line is "record name version value" or "control type version value", the value in hexadecimal. The seed is fixed, so that
 * one version of Kafka gives the same file each time.
 */
public class Vectors {
    static final int EACH = 6;
    static final Random random = new Random(44);

    public static void main(String[] args) throws Exception {
        MetadataRecordType[] types = MetadataRecordType.values();
        Arrays.sort(types, Comparator.comparingInt(MetadataRecordType::id));
        for (MetadataRecordType type : types) {
            for (short version = type.lowestSupportedVersion(); version <= type.highestSupportedVersion(); version++) {
                for (int i = 0; i < EACH; i++) record(type, version, i);
            }
        }
        for (int i = 0; i < EACH; i++) {
            control(2, 0, LeaderChangeMessage::new);
            control(2, 1, LeaderChangeMessage::new);
            control(3, 0, SnapshotHeaderRecord::new);
            control(4, 0, SnapshotFooterRecord::new);
            control(5, 0, KRaftVersionRecord::new);
            control(6, 0, VotersRecord::new);
        }
    }

    static void record(MetadataRecordType type, short version, int round) throws Exception {
        MetadataRecordSerde serde = MetadataRecordSerde.INSTANCE;
        while (true) { // a field that the version lacks is refused: draw again
            ApiMessage message = type.newMetadataRecord();
            fill(message, round == 0 ? 0 : random.nextDouble());
            try {
                ApiMessageAndVersion data = new ApiMessageAndVersion(message, version);
                ObjectSerializationCache cache = new ObjectSerializationCache();
                ByteBuffer buffer = ByteBuffer.allocate(serde.recordSize(data, cache));
                serde.write(data, cache, new ByteBufferAccessor(buffer));
                print("record " + message.getClass().getSimpleName() + " " + version, buffer);
                return;
            } catch (org.apache.kafka.common.errors.UnsupportedVersionException e) {
                continue;
            }
        }
    }

    static void control(int type, int version, Supplier<Message> empty) throws Exception {
        while (true) {
            Message message = empty.get();
            fill(message, random.nextDouble());
            message.getClass().getMethod("setVersion", short.class).invoke(message, (short) version);
            try {
                ObjectSerializationCache cache = new ObjectSerializationCache();
                ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, (short) version));
                message.write(new ByteBufferAccessor(buffer), cache, (short) version);
                print("control " + type + " " + version, buffer);
                return;
            } catch (org.apache.kafka.common.errors.UnsupportedVersionException e) {
                continue;
            }
        }
    }

    static void print(String head, ByteBuffer buffer) {
        System.out.println(head + " " + HexFormat.of().formatHex(buffer.array(), 0, buffer.position()));
    }

    /** Sets each field with the given probability, and adds a tagged field that nobody knows now and then. */
    static void fill(Message message, double probability) throws Exception {
        Method[] methods = message.getClass().getMethods();
        Arrays.sort(methods, Comparator.comparing(Method::getName));
        for (Method m : methods) {
            if (!m.getName().startsWith("set") || m.getParameterCount() != 1 || m.getName().equals("setNext") || m.getName().equals("setPrev")) continue;
            if (random.nextDouble() < probability) m.invoke(message, value(m.getGenericParameterTypes()[0], probability));
        }
        if (random.nextDouble() < probability / 3) {
            byte[] data = new byte[random.nextInt(200)];
            random.nextBytes(data);
            message.unknownTaggedFields().add(new RawTaggedField(10000 + random.nextInt(1000), data));
        }
    }

    static Object value(Type type, double probability) throws Exception {
        if (type instanceof ParameterizedType list) {
            List<Object> values = new ArrayList<>();
            for (int n = random.nextInt(4); n > 0; n--) values.add(value(list.getActualTypeArguments()[0], probability));
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
        if (value instanceof AbstractCollection) { // an implicitly linked set of structs
            Class<?> element = null;
            for (Method m : c.getDeclaredMethods()) {
                if (m.getName().equals("find") && Message.class.isAssignableFrom(m.getReturnType())) element = m.getReturnType();
            }
            for (int n = random.nextInt(4); n > 0; n--) {
                Message one = (Message) element.getDeclaredConstructor().newInstance();
                fill(one, probability);
                c.getMethod("add", org.apache.kafka.common.utils.internals.ImplicitLinkedHashCollection.Element.class).invoke(value, one);
            }
            return value;
        }
        fill((Message) value, probability);
        return value;
    }

    static String text() {
        StringBuilder b = new StringBuilder();
        for (int n = random.nextInt(10) == 0 ? 150 : random.nextInt(12); n > 0; n--) b.append("abcäz_.-7/".charAt(random.nextInt(10)));
        return b.toString();
    }
}
