// SPDX-License-Identifier: Apache-2.0

import java.io.IOException;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Sends records until stdin ends and leaves the metrics of it to telemetry, whose id it prints first, and their number last. */
public class Push {
    public static void main(String[] args) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", args[0]);
        p.put("client.id", args[1]);
        p.put("enable.metrics.push", "true");
        p.put("key.serializer", StringSerializer.class.getName());
        p.put("value.serializer", StringSerializer.class.getName());
        Thread told = new Thread(() -> {
            try {
                System.in.read();
            } catch (IOException ended) {
                // so it has
            }
        });
        told.setDaemon(true);
        told.start();
        int sent = 0;
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(p)) {
            System.out.println(producer.clientInstanceId(Duration.ofMinutes(2)));
            while (told.isAlive()) {
                producer.send(new ProducerRecord<>(args[2], "v" + sent)).get();
                sent++;
                Thread.sleep(10);
            }
        }
        System.out.println(sent);
    }
}
