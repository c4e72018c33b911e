"""The metrics that Prometheus reads at /metrics; the one HTTP process counts all of them."""

import functools

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

REQUESTS = Counter("http_requests", "Answered requests.", ["method", "route", "status"])
LATENCY = Histogram(
    "http_request_seconds", "Seconds from head to response.", ["route"], buckets=SECONDS
)
QUEUE_WAIT = Histogram(
    "queue_wait_seconds", "Seconds that a request waited for a worker.", buckets=SECONDS
)
QUEUED = Gauge("queued_tweets", "Tweets that wait for a worker.")
BATCH = Histogram("batch_tweets", "Tweets in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128))
WORKERS = Gauge("ready_workers", "Workers that can answer.")
PREDICTIONS = Counter("predictions", "Answered tweets.", ["label"])
PROBABILITY = Histogram(
    "prediction_probability", "P(disaster).", buckets=[n / 10 for n in range(1, 11)]
)
MODEL = Gauge("model_info", "1 for the model in use.", ["version"])
REJECTED = Counter("rejected", "Requests that were refused.", ["reason"])
FEEDBACK = Counter("feedback", "Answers that a user judged.", ["verdict"])
LOG_LINES = Counter("prediction_log_lines", "Lines written to the prediction log.")
LOG_DROPPED = Counter("prediction_log_dropped", "Dropped lines of the prediction log.", ["reason"])
SERVER_LOG_DROPPED = Counter("server_log_dropped", "Dropped lines of the server's log.")

# All labels exist from the start, so that rates are computed from 0.
for counter, labels in (
    (REJECTED, "queue timeout worker key origin too_large idle"),
    (FEEDBACK, "right wrong"),
    (LOG_DROPPED, "queue full disk"),
):
    for label in labels.split():
        counter.labels(label)


# Looking labels up takes long, so the results are cached.
requests = functools.lru_cache(1024)(REQUESTS.labels)
latency = functools.lru_cache(1024)(LATENCY.labels)
predictions = functools.lru_cache(2)(PREDICTIONS.labels)
