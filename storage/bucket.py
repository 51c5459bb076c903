"""Makes the bucket that the settings name, if it is missing: `python -m storage.bucket`, once per installation."""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from storage.settings import Settings, SettingsError


def make_bucket(settings: Settings) -> bool:
    """Make the bucket; returns False if it exists already.

    Raises:
        SettingsError: S3_BUCKET_NAME is not set, or the server does not answer or refuses.

    """
    if settings.s3_bucket_name is None:
        raise SettingsError("S3_BUCKET_NAME is not set; the local folder needs no bucket")
    client = boto3.client(
        "s3", endpoint_url=settings.s3_endpoint_url, config=Config(s3={"addressing_style": settings.s3_addressing})
    )
    try:
        if any(bucket["Name"] == settings.s3_bucket_name for bucket in client.list_buckets()["Buckets"]):
            return False
        client.create_bucket(Bucket=settings.s3_bucket_name)
    except (BotoCoreError, ClientError) as error:
        raise SettingsError(f"S3_BUCKET_NAME={settings.s3_bucket_name} cannot be made: {error}") from error
    return True


if __name__ == "__main__":
    try:
        print("made" if make_bucket(Settings.load()) else "is there")
    except SettingsError as error:
        print(f"bucket: {error}", file=sys.stderr)
        sys.exit(2)
