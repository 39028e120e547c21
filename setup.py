"""`pip install .` ends here, with a sentence: the service is no library; it runs from its clone, versions pinned."""

import sys

sys.exit("The service is not installed, it runs from its clone: make serve. Its Python client is: pip install ./client")
