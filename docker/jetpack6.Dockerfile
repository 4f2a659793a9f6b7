# SPDX-License-Identifier: Apache-2.0
# The node on a Jetson with JetPack 6 (Ubuntu 22.04, Python 3.10): NVIDIA's PyTorch, ROS 2 Humble. Build it on the Jetson.
# BASE_IMAGE is NVIDIA's image of your JetPack with CUDA and cuDNN. TORCH_WHEEL is NVIDIA's build of PyTorch for it, copied to docker/.
#   docker build -f docker/jetpack6.Dockerfile --build-arg BASE_IMAGE=IMAGE --build-arg TORCH_WHEEL=torch-VERSION.whl -t fusion_mamba_ros:jetpack6 .
#   docker run --rm --runtime nvidia --network host --shm-size 1g fusion_mamba_ros:jetpack6
ARG BASE_IMAGE=ubuntu:22.04
FROM ${BASE_IMAGE}

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive ROS_DISTRO=humble
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl \
    && curl --fail --silent --show-error --location --output /usr/share/keyrings/ros-archive-keyring.gpg \
      https://raw.githubusercontent.com/ros/rosdistro/master/ros.key \
    && . /etc/os-release \
    && echo "deb [signed-by=/usr/share/keyrings/ros-archive-keyring.gpg] http://packages.ros.org/ros2/ubuntu $UBUNTU_CODENAME main" \
      > /etc/apt/sources.list.d/ros2.list \
    && apt-get update && apt-get install -y --no-install-recommends \
      build-essential cmake python3-colcon-common-extensions python3-dev python3-pip python3-venv \
      ros-humble-ros-base ros-humble-cv-bridge ros-humble-message-filters ros-humble-vision-msgs \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /workspace
ARG TORCH_WHEEL
COPY docker/${TORCH_WHEEL} /tmp/
RUN python3 -m venv --system-site-packages /opt/fusion_mamba \
    && /opt/fusion_mamba/bin/pip install --no-cache-dir "/tmp/${TORCH_WHEEL}" "numpy<2" "opencv-python-headless>=4.8,<4.12" \
      "safetensors>=0.4" "typer>=0.12" "rich>=13" "rosbags>=0.11"

COPY . src/fusion_mamba_ros
RUN . /opt/ros/humble/setup.bash && . /opt/fusion_mamba/bin/activate \
    && colcon build --packages-select fusion_mamba_ros --cmake-args -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF

COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "fusion_mamba_ros", "detect.launch.py"]
