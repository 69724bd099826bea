// SPDX-License-Identifier: BSD-2-Clause
// Works the garbage collector: four threads that make and forget strings, and a map whose values are replaced.
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

public class Collect {
    static long strings(int factor) {
        List<String> list = new ArrayList<>();
        long sum = 0;
        for (int i = 0; i < 60000; i++) {
            String text = "item" + i * factor;
            list.add(text);
            sum += text.hashCode();
            if (list.size() > 1000)
                list = new ArrayList<>(list.subList(500, 1000));
        }
        return sum;
    }

    public static void main(String[] args) throws Exception {
        Thread[] threads = new Thread[4];
        long[] sums = new long[threads.length];
        for (int i = 0; i < threads.length; i++) {
            int number = i;
            threads[i] = new Thread(() -> sums[number] = strings(number + 1));
            threads[i].start();
        }
        Map<Integer, byte[]> map = new HashMap<>();
        long sum = 0, collections = 0;
        for (int i = 0; i < 20000; i++) {
            map.put(i % 500, new byte[4096 + i % 100]);
            sum += map.get(i % 500).length;
        }
        for (int i = 0; i < threads.length; i++) {
            threads[i].join();
            sum += sums[i];
        }
        System.gc();
        for (GarbageCollectorMXBean bean : ManagementFactory.getGarbageCollectorMXBeans())
            collections += bean.getCollectionCount();
        System.out.println("sum " + sum + ", collected more than three times: " + (collections > 3));
    }
}
