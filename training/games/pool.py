"""The image pool of CycleGAN: the discriminator sees a history of translations, not the latest alone."""

import torch
from torch import Tensor


class ImagePool:
    """Keeps up to `capacity` past images (Shrivastava et al. 2017, section 2.3; CycleGAN, section 4, takes 50).

    Once full, each new image is, with probability 1/2, exchanged against a random old one, which is shown in its
    place. `stored` is the whole state, [k, c, h, w].
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.stored = torch.empty(0)

    def exchange(self, images: Tensor, random: torch.Generator) -> Tensor:
        """What to show to the discriminator in place of the newest translations.

        Args:
            images: [n, c, h, w], the newest; gradients do not flow through them from here on.
            random: a CPU generator, so that a resumed run draws what it would have drawn.
        Returns:
            [n, c, h, w], each one new or old; a pool of capacity 0 gives the images back.
        """
        if self.capacity == 0:
            return images
        shown = []
        for image in images.detach():
            if len(self.stored) < self.capacity:
                new = image[None]
                self.stored = new.clone() if len(self.stored) == 0 else torch.cat([self.stored, new])
                shown.append(image)
            elif torch.rand((), generator=random) < 0.5:
                place = int(torch.randint(self.capacity, (), generator=random))
                shown.append(self.stored[place].clone())
                self.stored[place] = image
            else:
                shown.append(image)
        return torch.stack(shown)
