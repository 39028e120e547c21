"""`python -m gan_client` is `gan`, also where the client is not installed."""

import sys

from gan_client.command import main

sys.exit(main())
