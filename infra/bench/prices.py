"""AWS's prices in us-east-1, in USD, as published in 2026-10 (https://aws.amazon.com/<service>/pricing/)."""

READ_ON = "2026-10"
MILLION = 1_000_000

DYNAMODB_WRITE = 0.625 / MILLION  # a write request unit, on demand: 1 KB, twice that in a transaction
DYNAMODB_READ = 0.125 / MILLION  # a read request unit: 4 KB, half of it where it need not be the latest
S3_PUT = 0.005 / 1_000
S3_GET = 0.0004 / 1_000
SQS_REQUEST = 0.40 / MILLION  # up to 64 KB
LAMBDA_REQUEST = 0.20 / MILLION
LAMBDA_GB_SECOND = 0.0000133334  # arm64
API_REQUEST = 1.00 / MILLION  # an HTTP API, up to 512 KB
LOGS_GB = 0.50

# These were not looked up again: list prices as they are commonly known, without volume discounts or free tiers.
S3_GB_MONTH = 0.023
TRAFFIC_GB = 0.09  # out to the internet
DYNAMODB_GB_MONTH = 0.25
BACKUP_GB_MONTH = 0.20  # DynamoDB's point-in-time recovery
ALARM_MONTH = 0.10
KEY_MONTH = 1.00

SECONDS_A_MONTH = 30 * 86_400
