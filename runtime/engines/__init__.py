"""The engines that run models. Each engine has its own module."""
