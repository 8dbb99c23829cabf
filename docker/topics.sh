#!/bin/sh
# Makes the topics that are missing, with rpk; those that exist stay as they are.
#
#   topics.sh BROKERS
#
# Names are those of events/src/topic.rs, settings those of eventlog/src/kafka/admin.rs: `serve` makes the same topics
# where it finds none. scripts/check-docker.sh holds the two together. Redpanda alone knows write.caching; off means that
# an acknowledged record is on disk.
set -eu

brokers=${1:?usage: topics.sh BROKERS}
partitions=8                                      # [log] partitions; fixed once a topic is made
retention=$((90 * 24 * 60 * 60 * 1000))           # [log] retention, 90 days

create() {
  rpk topic create --if-not-exists -X "brokers=$brokers" --partitions "$partitions" --replicas 1 \
    --topic-config message.timestamp.type=LogAppendTime \
    --topic-config max.message.bytes=$((4 * 1024 * 1024)) \
    --topic-config write.caching=false \
    "$@"
}

create --topic-config cleanup.policy=delete --topic-config "retention.ms=$retention" \
  issues actions outcomes dead-letters actions-shadow
# Which policy held when, and what was paused, explains all the others: kept for ever.
create --topic-config cleanup.policy=delete --topic-config retention.ms=-1 policies control
# Only closed segments are compacted, and a restore reads what is not.
create --topic-config cleanup.policy=compact --topic-config retention.ms=-1 \
  --topic-config segment.bytes=$((32 * 1024 * 1024)) --topic-config segment.ms=$((60 * 60 * 1000)) \
  gateway-state executor-state sweeps
