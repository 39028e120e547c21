"""Work on a million images: translated, drawn or measured by as many actors as there are, on one machine or many.

python -m bulk translate s3://photos/horses s3://photos/zebras --model horse2zebra --direction zebra

Ray Data does the work; nobody is told that it does. Ray reads the setting when it is imported, so it stands here.
"""

import os as _os

_os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

__all__: list[str] = []
