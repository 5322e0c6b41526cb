"""X-rays and the display: attenuation of materials at two energies, and colour on the screen."""
